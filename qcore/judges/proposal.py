"""Which judge fits a network, told from what it takes and returns. A proposal; the person decides.

Torch-free, like the judges.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from qcore.errors import InvalidData
from qcore.inputs import names_mask
from qcore.judges.base import Judge, output_names
from qcore.judges.classes import Classes
from qcore.judges.embedding import Embedding
from qcore.judges.map import Map
from qcore.judges.parts import Parts
from qcore.judges.signal import Signal
from qcore.judges.tokens import Tokens

LEADING = ("logits", "last_hidden_state", "out")
"""Outputs that stand for a network where it returns others beside them."""

MOST_PARTS = 8


def propose(
    outputs: Any,
    inputs: Any,
    causal: bool = False,
    endings: Mapping[str, str] = MappingProxyType({}),
) -> Judge:
    """The judge that suits what a network returned for a few samples.

    Args:
        outputs: As returned: a tensor (n, ...), or several in a tuple or mapping.
        inputs: What it was given: a tensor, or names to tensors.
        causal: Whether its outputs at a position depend on the positions before it alone.
        endings: Output name ("" for the only one) to "softmax", "sigmoid" or "", where it is known
            what ends it; the numbers tell otherwise.

    Raises:
        InvalidData: there is no tensor among the outputs.
    """
    if hasattr(outputs, "shape"):
        return _one("", outputs, inputs, causal, endings.get(""))
    names = output_names(outputs)
    if not names:
        raise InvalidData(
            f"The network returns a {type(outputs).__name__} without a tensor in it; wrap it in a "
            "module that returns what is to be compared."
        )
    for name in LEADING:
        if name in names:
            return _one(name, _at(outputs, name), inputs, causal, endings.get(name))
    if len(names) == 1:
        return _one(names[0], _at(outputs, names[0]), inputs, causal, endings.get(names[0]))
    kept = names[:MOST_PARTS]
    parts = tuple(
        _one(name, _at(outputs, name), inputs, causal, endings.get(name)) for name in kept
    )
    return Parts(parts=parts, weights=(1.0,) * len(parts))


def _at(outputs: Any, name: str) -> Any:
    return outputs[name] if isinstance(outputs, Mapping) else outputs[int(name)]


def _one(name: str, values: Any, inputs: Any, causal: bool, ending: str | None) -> Judge:
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    ids = next((k for k, v in named.items() if v.dim() == 2 and not v.is_floating_point()), None)
    shaped = None if ids is None else named[ids].shape
    masks = [k for k, v in named.items() if names_mask(k) and v.shape == shaped]
    mask = masks[0] if masks else ""
    alike = any(v.shape == values.shape and v.is_floating_point() for v in named.values())
    values = values.float()
    shares = bool(((values >= 0) & (values <= 1)).all())
    if alike:
        return Signal(output=name)
    if ending == "sigmoid":
        return Map(output=name, binary=True, probabilities=True)
    if values.dim() == 2 and values.shape[1] > 1:
        return Classes(output=name, probabilities=_sums_to_one(values, 1))
    if values.dim() <= 2:
        return Map(output=name, binary=True, probabilities=True) if shares else Signal(output=name)
    if values.dim() == 3 and shaped is not None and values.shape[1] == shaped[1]:
        high = int(named[ids].max()) + 1 if ids is not None else 0
        if values.shape[2] < max(high, 2) and not _sums_to_one(values, 2):
            return Embedding(output=name, mask=mask)
        return Tokens(
            output=name,
            mask=mask,
            ids=(ids or "ids") if causal else "",
            probabilities=_sums_to_one(values, 2),
        )
    if values.dim() == 3 and values.shape[2] > 1:
        return Tokens(output=name, probabilities=_sums_to_one(values, 2))
    if values.shape[1] == 1 and shares:
        return Map(output=name, binary=True, probabilities=True)
    if values.dim() == 4 and values.shape[1] > 1 and not _picture(values, named):
        return Map(output=name, probabilities=_sums_to_one(values, 1))
    if values.shape[1] == 1 and not _picture(values, named):
        return Map(output=name, binary=True)
    return Signal(output=name)


def _sums_to_one(values: Any, axis: int) -> bool:
    sums = values.sum(axis)
    return bool((values >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())


def _picture(values: Any, named: Mapping[str, Any]) -> bool:
    """True where the output has the channels of an input picture: a picture again."""
    return any(
        v.dim() == 4 and v.is_floating_point() and v.shape[1] == values.shape[1]
        for v in named.values()
    )
