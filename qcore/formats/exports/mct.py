"""Manual bit-widths for Sony's Model Compression Toolkit: the script beside it with these widths.

MCT 2.6 has no file of its own: widths are set by calls (`BitWidthConfig`), which the script makes.
Its default target platform has weights of 2, 4 and 8 bits and activations of 8, and attaches
activation widths to the outputs of nodes, which a configuration does not name.
"""

from pathlib import Path

from qcore.allocation import FLOAT_BITS
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.widths import unfit

TEMPLATE = Path(__file__).parent / "templates" / "mct.py"
WEIGHTS, ACTIVATIONS = (2, 4, 8), (8, FLOAT_BITS)


def carries(config: BitConfig) -> str | None:
    """Why MCT's default target platform cannot hold a configuration."""
    reason = unfit(config, WEIGHTS, ACTIVATIONS)
    if reason is None and len({bits.activation for bits in config.allocation.values()}) > 1:
        return "its activations have one width for all layers; here some are 8 bits, others float."
    return reason


def render(config: BitConfig) -> bytes:
    """The script as bytes."""
    widths = {name: config.allocation[name].weight for name in config.model.names}
    activation = next(iter(config.allocation.values())).activation
    text = TEMPLATE.read_text(encoding="utf-8")
    lines = "".join(f"    {name!a}: {bits},\n" for name, bits in widths.items())
    # ascii, so that no name can end its string; from the end on, so that none is replaced in turn
    for place, value in (
        ("ACTIVATION_BITS = 8", f"ACTIVATION_BITS = {activation}"),
        ("WEIGHT_BITS: dict[str, int] = {}", f"WEIGHT_BITS: dict[str, int] = {{\n{lines}}}"),
        ('MODEL = ""', f"MODEL = {config.model.name!a}"),
    ):
        text = text.replace(place, value, 1)
    return text.encode()


EXPORT = Export(
    "mct",
    "Sony MCT (script)",
    ".mct.py",
    "text/x-python",
    render,
    carries=carries,
    runs_in="Sony MCT",
    note="Weight bits of 2, 4 or 8; MCT measures its own thresholds. It quantizes activations to 8 "
    "bits by itself: switch that off there if they are to stay in float.",
)
