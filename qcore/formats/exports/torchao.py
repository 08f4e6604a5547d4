"""A state dict whose linear weights are torchao's integer tensors, 2 to 8 bits, weights only."""

from qcore.allocation import FLOAT_BITS, stored_bits
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export, needs_state
from qcore.formats.exports.widths import uneven


def carries(config: BitConfig) -> str | None:
    """The reason where torchao has no tensor for what the configuration holds."""
    missing = needs_state(config)
    if missing:
        return missing
    bits, named = config.allocation, 3

    def refusal(names: list[str], why: str) -> str:
        more = f" and {len(names) - named} more" if len(names) > named else ""
        return f"{why}; here: {', '.join(names[:named])}{more}. Leave them at 32 bits."

    layers = config.model.layers
    others = [x for x in layers if x.kind != "linear" and bits[x.name].weight != FLOAT_BITS]
    if others:
        convolves = any(x.kind.startswith("conv") for x in others)
        what = "convolutions" if convolves else "recurrent ones or embeddings"
        found = [x.name for x in others]
        return refusal(found, f"torchao quantizes linear layers only, not {what}")
    if found := [x.name for x in layers if bits[x.name].activation < FLOAT_BITS]:
        return refusal(found, "torchao's integer weights go with float inputs")
    if found := [x.name for x in layers if 8 < stored_bits(bits[x.name].weight) < FLOAT_BITS]:
        return refusal(found, "torchao's integers have 1 to 8 bits, and no floats of 16")
    if found := [x.name for x in layers if bits[x.name].weight == 1]:
        return refusal(found, "torchao's one-bit integers are -1 and 0, not -1 and 1")
    if all(bits[x.name].weight == FLOAT_BITS for x in layers):
        return "no layer is quantized."
    return uneven(config)


EXPORT = Export(
    name="torchao",
    title="torchao state dict (linear layers)",
    suffix=".torchao.pt",
    mime="application/octet-stream",
    needs_model=True,
    carries=carries,
    runs_in="torchao",
    note="Linear layers, weights only. torch.load(weights_only=True) reads it once torchao is "
    "imported. torchao keeps one byte a weight whatever its bits.",
    render_model="qcore.formats.exports.torch_side.torchao:render",
)
