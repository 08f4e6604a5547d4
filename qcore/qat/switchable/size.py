"""How many bytes a switchable network takes: with one allocation, and with all it can do.

Counted is what a device must hold. A batch-norm copy is 2 float32 per channel once folded (4 while
training), a scale one float32, and what is left in float 4 bytes a number. Weights for one
allocation are their codes, rounded up to whole bytes layer by layer. To serve all rungs, the
smaller of one float32 copy and the codes of every rung side by side: two, three and four bits
together are nine. Nested codes are stored once, at their widest: two and three bits lie in four.
"""

from dataclasses import asdict, dataclass

from qcore.allocation import FLOAT_BITS, BitAllocation
from qcore.qat.model import TrainableModel

FLOAT_BYTES = 4
FOLDED = 2
"""Numbers per channel of a batch-norm once it is a scale and a shift."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes by kind.

    Attributes:
        weights: Weights under a bit-width.
        norms: Batch-norm copies, folded.
        scales: Scales of the quantizers.
        rest: Biases not followed by a batch-norm, and parameters left in float.
    """

    weights: int
    norms: int
    scales: int
    rest: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.norms + self.scales + self.rest

    def to_json(self) -> dict[str, int]:
        """Return {kind: bytes}, with "total"."""
        return {**asdict(self), "total": self.total}


def payload_of(model: TrainableModel, allocation: BitAllocation) -> Payload:
    """Bytes for one allocation alone: one norm behind each layer, and the weights' codes."""
    weights = sum(_packed(x.weights, allocation[x.name].weight) for x in model.spec.layers)
    scales = sum((b.weight != FLOAT_BITS) + (b.activation != FLOAT_BITS) for b in
                 allocation.values())  # fmt: skip
    return Payload(weights, _norms(model, 1), scales * FLOAT_BYTES, _rest(model))


def payload_of_all(model: TrainableModel) -> Payload:
    """Bytes for everything the network can be switched to, all copies of its norms included."""
    rungs = {} if model.plan is None else model.plan.rungs
    weights = scales = 0
    for layer in model.spec.layers:
        row = rungs.get(layer.name, (model.allocation[layer.name],))
        widths = {bits.weight for bits in row}
        nests = model.layers[layer.name].quantizer.nests
        stored = {max(widths)} if nests else widths
        codes = sum(_packed(layer.weights, width) for width in stored)
        weights += min(codes, _packed(layer.weights, FLOAT_BITS))
        scales += len(widths - {FLOAT_BITS}) + len({b.activation for b in row} - {FLOAT_BITS})
    return Payload(weights, _norms(model), scales * FLOAT_BYTES, _rest(model))


def float_payload(model: TrainableModel) -> Payload:
    """Bytes of the float network, norms folded."""
    weights = sum(layer.weights for layer in model.spec.layers) * FLOAT_BYTES
    return Payload(weights, _norms(model, 1), 0, _rest(model))


def payloads(model: TrainableModel) -> dict[str, dict[str, int]]:
    """Bytes at the bits in use ("one"), for all it can do ("all"), and of the "float" network."""
    return {
        "one": payload_of(model, model.allocation).to_json(),
        "all": payload_of_all(model).to_json(),
        "float": float_payload(model).to_json(),
    }


def _packed(count: int, bits: int) -> int:
    return -(-count * bits // 8)


def _norms(model: TrainableModel, most: int | None = None) -> int:
    channels = 0
    for norm in model.norms.values():
        copies = list(getattr(norm, "copies", {"": norm}).values())
        channels += sum(copy.num_features for copy in copies[:most])
    return channels * FOLDED * FLOAT_BYTES


def _rest(model: TrainableModel) -> int:
    biases = sum(
        layer.bias.numel()
        for name, layer in model.layers.items()
        if layer.bias is not None and name not in model.norms
    )
    return (biases + sum(model.spec.left_in_float.values())) * FLOAT_BYTES
