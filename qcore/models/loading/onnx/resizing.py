"""Enlarging and shrinking as ONNX's Resize and Upsample do it, axis by axis, for known sizes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcore.errors import UnsupportedModel

_Place = Callable[[Tensor, float, int, int], Tensor]

PLACES: dict[str, _Place] = {
    "half_pixel": lambda at, scale, old, new: (at + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda at, scale, old, new: (
        old / 2 * (1 - new / (old * scale)) + (at + 0.5) / scale - 0.5
    ),
    "pytorch_half_pixel": lambda at, scale, old, new: (
        (at + 0.5) / scale - 0.5 if new > 1 else at * 0
    ),
    "asymmetric": lambda at, scale, old, new: at / scale,
    "align_corners": lambda at, scale, old, new: (
        at * ((old - 1) / (new - 1)) if new > 1 else at * 0
    ),
    "tf_half_pixel_for_nn": lambda at, scale, old, new: (at + 0.5) / scale,
}
"""Name of a way to (new places, scale, old size, new size) -> where they lie in the old ones."""

ROUNDS: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda at: (at - 0.5).ceil(),
    "round_prefer_ceil": lambda at: (at + 0.5).floor(),
    "floor": torch.floor,
    "ceil": torch.ceil,
}
"""Name of a rounding to the function."""

_HALVES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
REPEATING = frozenset(
    {("asymmetric", "floor"), ("tf_half_pixel_for_nn", "floor")}
    | {(place, rounding) for place in _HALVES for rounding in list(ROUNDS)[:2]}
)
"""Keys of PLACES and of ROUNDS by which sizes that grow by whole factors repeat every number."""


class Resize(nn.Module):
    """Nearest or linear resizing.

    Args:
        scales: Axis to its factor.
        sizes: Axis to its new size, where that is given instead.
        linear: True for linear, False for nearest.
        place: Key of PLACES.
        rounding: Key of ROUNDS; nearest alone looks at it.
    """

    def __init__(
        self,
        scales: dict[int, float],
        sizes: dict[int, int],
        linear: bool,
        place: str,
        rounding: str,
    ) -> None:
        super().__init__()
        self.scales, self.sizes, self.linear = scales, sizes, linear
        self.place, self.rounding = place, rounding

    def forward(self, x: Tensor) -> Tensor:
        """(...) to (...), other sizes along the axes that are resized."""
        todo: dict[int, tuple[int, int, float]] = {}
        for axis in {**self.scales, **self.sizes}:
            old = x.shape[axis]
            new = self.sizes.get(axis) or math.floor(old * self.scales[axis] + 1e-6)
            scale = self.scales.get(axis) or new / old
            if new != old or scale != 1:
                todo[axis % x.dim()] = (old, new, scale)
        if todo and x.dim() == 4 and set(todo) <= {2, 3}:
            sizes = [todo[axis][1] if axis in todo else x.shape[axis] for axis in (2, 3)]
            if not self.linear and all(self._repeats(*each) for each in todo.values()):
                return functional.interpolate(x, sizes, mode="nearest")
            if self.linear and all(self._between(*each) for each in todo.values()):
                return functional.interpolate(x, sizes, mode="bilinear")
        for axis, (old, new, scale) in todo.items():
            x = self._along(x, axis, old, new, scale)
        return x

    def _repeats(self, old: int, new: int, scale: float) -> bool:
        """True where every number is only repeated, as torch's own resizing does it.

        That takes a tenth of the time. It divides in floats of 32 bits, which is exact where a
        number is repeated 2, 4, 8 ... times.
        """
        times = new // old
        plain = (self.place, self.rounding) in REPEATING
        return plain and new == times * old and scale == times and not times & (times - 1)

    def _between(self, old: int, new: int, scale: float) -> bool:
        """True where torch's own resizing goes as far between the same neighbours."""
        halves = self.place == "half_pixel" or (self.place == "pytorch_half_pixel" and new > 1)
        return halves and scale == new / old

    def _nearest(self, at: Tensor, old: int, new: int, scale: float) -> Tensor:
        where = PLACES[self.place](at, scale, old, new)
        # places that lie half way up to rounding go the way ONNX says, not that of rounding
        where = (where * 2**20).round() / 2**20
        return ROUNDS[self.rounding](where).long().clamp(0, old - 1)

    def _along(self, x: Tensor, axis: int, old: int, new: int, scale: float) -> Tensor:
        at = torch.arange(new, device=x.device, dtype=torch.float64)
        if not self.linear:
            return x.index_select(axis, self._nearest(at, old, new, scale))
        where = PLACES[self.place](at, scale, old, new).clamp(0, old - 1)
        low = where.floor().long().clamp(max=max(0, old - 2))
        share = (where - low).to(x.dtype).reshape([-1 if d == axis else 1 for d in range(x.dim())])
        first = x.index_select(axis, low)
        return first + (x.index_select(axis, (low + 1).clamp(max=old - 1)) - first) * share


def resize(node: Any, arrays: Callable[[str], Any]) -> nn.Module:
    """The module of a Resize or Upsample node.

    Args:
        node: onnx2torch's node.
        arrays: Name of a stored tensor to its array; raises where it is not stored.

    Raises:
        UnsupportedModel: a way of resizing that is not read; says which.
    """
    told, given = node.attributes, list(node.input_values)
    old = node.operation_type == "Upsample" or len(given) == 2
    mode = str(told.get("mode", "nearest")).replace("bilinear", "linear")
    place = str(told.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel"))
    rounding = str(told.get("nearest_mode", "floor" if old else "round_prefer_floor"))
    odd = [key for key in ("antialias", "exclude_outside") if told.get(key)]
    odd += [mode] if mode not in ("nearest", "linear") else []
    odd += [place] if place not in PLACES else []
    policy = str(told.get("keep_aspect_ratio_policy", "stretch"))
    odd += [policy] if policy != "stretch" else []
    if odd or rounding not in ROUNDS:
        raise UnsupportedModel(f"{node.operation_type} {node.name} resizes by {', '.join(odd)}")
    given += [""] * (4 - len(given))
    name = given[1] if old else given[2]
    scales = told.get("scales") or (arrays(name).reshape(-1).tolist() if name else [])
    sizes = [] if old or not given[3] else arrays(given[3]).reshape(-1).tolist()
    axes = list(told.get("axes") or range(len(scales or sizes)))
    if scales:
        factors = {axis: float(f) for axis, f in zip(axes, scales, strict=True) if f != 1}
        return Resize(factors, {}, mode == "linear", place, rounding)
    # the first two are samples and channels, which are never resized
    wanted = {axis: int(s) for axis, s in zip(axes, sizes, strict=True) if axis not in (0, 1)}
    return Resize({}, wanted, mode == "linear", place, rounding)
