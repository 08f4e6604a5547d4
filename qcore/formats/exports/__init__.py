"""The formats a configuration can be taken away in. EXPORTS lists them by name. Torch-free."""

from qcore.formats.exports import (
    aimet,
    apply_script,
    brevitas,
    csv_file,
    haq,
    hawq,
    json_file,
    mct,
    model_explorer,
    modelopt,
    onnx_qdq,
    packed,
    qonnx,
    torchao,
    yaml_file,
)
from qcore.formats.exports.base import Export, Rendered, write, write_with_model
from qcore.formats.exports.language_models import autoround, gptqmodel, llama_quantize

EXPORTS: dict[str, Export] = {
    module.EXPORT.name: module.EXPORT
    for module in (
        json_file,
        yaml_file,
        csv_file,
        apply_script,
        hawq,
        haq,
        mct,
        modelopt,
        llama_quantize,
        autoround,
        gptqmodel,
        aimet,
        model_explorer,
        brevitas,
        packed,
        qonnx,
        torchao,
    )
}
EXPORTS |= {export.name: export for export in onnx_qdq.EXPORTS_HERE}

__all__ = ["EXPORTS", "Export", "Rendered", "write", "write_with_model"]
