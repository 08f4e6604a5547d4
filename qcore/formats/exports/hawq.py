"""HAWQ's bit dictionary: a Python file whose entry goes into its bit_config.py.

Format of Zhen-Dong/HAWQ (Yao et al. 2021), read from bit_config.py (commit 800ed9c) and from what
quant_train.py (commit 5dddd77) does with it: {"bit_config_" + arch + "_" + scheme: {module:
bits}}, weights and activations side by side, sums of residual joins at 16 bits. Names that its
network lacks are passed over there without an error.
"""

import re

from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.formats.exports.hawq_names import RESIDUAL_BITS, architecture, hawq_names, joins
from qcore.formats.exports.widths import unfit

WIDTHS = range(2, 9)


def carries(config: BitConfig) -> str | None:
    """Why HAWQ cannot hold a configuration: its networks, its widths, its shared inputs."""
    names = hawq_names(config.model.names)
    if names is None:
        return (
            "its dictionary names modules of HAWQ's own residual networks, and this network has "
            "layers that those lack."
        )
    reason = unfit(config, WIDTHS, WIDTHS)
    if reason is not None:
        return reason
    shared: dict[str, tuple[str, int]] = {}
    for layer, (_, name) in names.items():
        bits = config.allocation[layer].activation
        first, other = shared.setdefault(name, (layer, bits))
        if bits != other:
            return (
                f"{first} and {layer} read one tensor, {name}, which HAWQ gives one width; here "
                f"they have {other} and {bits} bits."
            )
    return None


def render(config: BitConfig) -> bytes:
    """The Python file: `bit_config_dict` with one configuration."""
    names = hawq_names(config.model.names) or {}
    entries: dict[str, int] = {}
    for layer, (weight, inputs) in names.items():
        bits = config.allocation[layer]
        entries[inputs] = bits.activation
        entries[weight] = bits.weight
    entries |= dict.fromkeys(joins(entries), RESIDUAL_BITS)
    known = architecture(config.model.names)
    title = known or re.sub(r"[^0-9a-z]+", "", config.model.name.lower()) or "network"
    lines = ["# Put this entry into bit_config.py of Zhen-Dong/HAWQ and choose it"]
    lines += [f"# with --arch {title} --quant-scheme bitdial. Scales are measured anew there."]
    if known is None:
        lines += ["# HAWQ has no class for this network: you need one with modules of these names."]
    lines += [
        "bit_config_dict = {",
        f'"bit_config_{title}_bitdial": {{',
        *(f"{name!r}: {bits}," for name, bits in entries.items()),
        "},",
        "}",
    ]
    return ("\n".join(lines) + "\n").encode()


EXPORT = Export(
    "hawq",
    "HAWQ dictionary",
    ".hawq.py",
    "text/x-python",
    render,
    carries=carries,
    runs_in="HAWQ",
    note="Bits only; the format was checked, HAWQ itself not run. HAWQ has classes for ResNet-18, "
    "50 and 101; weights and activations of 2 to 8 bits, every activation quantized.",
)
