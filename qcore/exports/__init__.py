"""The formats a configuration can be taken away in. EXPORTS lists them by name. Torch-free."""

from qcore.exports import apply_script, csv_file, json_file
from qcore.exports.base import Export, Rendered, write, write_with_model

EXPORTS: dict[str, Export] = {
    module.EXPORT.name: module.EXPORT for module in (json_file, csv_file, apply_script)
}

__all__ = ["EXPORTS", "Export", "Rendered", "write", "write_with_model"]
