"""Exports that contain the network, made in a process of their own: the server never loads torch.

`export_text` starts `python -m store.jobs.export`, waits for it, and turns every end that is not a
file into words.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.costs.user_tables import read_costs
from qcore.errors import ExportRefused, QcoreError
from qcore.formats.config import BitConfig, parse_bits
from qcore.formats.exports import EXPORTS, Rendered, write, write_with_model
from store import bounds

TIMEOUT_S = 300
REFUSED = 2
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Exported:
    """A file, ready to be downloaded.

    Attributes:
        content: Its bytes.
        report: What running it showed; see `qcore.formats.exports.base.Rendered`.
    """

    content: bytes
    report: Mapping[str, Any] = field(default_factory=dict)


def export_text(
    text: str,
    name: str,
    timeout_s: float = TIMEOUT_S,
    costs: Mapping[str, CostModel] = COSTS,
) -> Exported:
    """A configuration in one of EXPORTS; formats with the network inside in a new process.

    Args:
        text: The configuration file's text.
        name: Key of EXPORTS.
        timeout_s: Seconds after which the process is ended.
        costs: By which the file tells what the allocation costs.

    Raises:
        ExportRefused: the format cannot carry the configuration, took too long, or its process
            ended without a file; the message says which.
        QcoreError: the configuration, its network or its images cannot be loaded.
    """
    export = EXPORTS[name]
    if not export.needs_model:
        config = parse_bits(text, costs)
        return Exported(write(export, config), export.report(config))
    with tempfile.TemporaryDirectory(prefix="bitdial-export-") as folder:
        given, made, told = (Path(folder) / part for part in ("config", "file", "report"))
        given.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "store.jobs.export", given, name, made, told]
        try:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ExportRefused(
                f"{export.title} took longer than {timeout_s:.0f} seconds and was ended. Use "
                f"python -m store export --format {name}, which has no limit."
            ) from error
        if done.returncode == REFUSED:
            raise ExportRefused(done.stderr.strip().splitlines()[-1])
        if done.returncode or not made.is_file() or not told.is_file():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ExportRefused(f"{export.title} could not be written: {lines[-1][:300]}")
        return Exported(made.read_bytes(), json.loads(told.read_text(encoding="utf-8")))


def render(config: BitConfig, name: str) -> Rendered:
    """A file in this process, which loads torch where the format needs the network.

    Network and data are opened within the bounds that are set.

    Raises:
        ExportRefused: the format cannot carry the configuration.
        QcoreError: the network cannot be loaded.
    """
    export = EXPORTS[name]
    if not export.needs_model:
        return Rendered(write(export, config), {"format": name, **export.report(config)})
    from qcore.formats.exports.torch_side.sample import sample_for
    from qcore.models.zoo import load_model

    with bounds.as_set():
        sample, words = sample_for(config)
        network = load_model(config.model.name)
    made = write_with_model(export, config, network, sample)
    return Rendered(made.content, {**made.report, "inputs": words})


def main(words: Sequence[str]) -> int:
    """`python -m store.jobs.export CONFIGURATION FORMAT FILE REPORT`; our errors are one line."""
    given, name, made, told = words
    try:
        found = render(parse_bits(Path(given).read_text(encoding="utf-8"), read_costs()), name)
    except QcoreError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return REFUSED
    Path(made).write_bytes(found.content)
    Path(told).write_text(json.dumps(dict(found.report)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
