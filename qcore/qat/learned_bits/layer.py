"""One layer whose weights and input learn their own grid, and with it their bits."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS, LayerBits
from qcore.errors import Diverged, InvalidParams, NotCalibrated
from qcore.qat.layer import QatLayer, TrainableLayer
from qcore.quantizers import ActivationGrid, Histogram, mse_grid
from qcore.quantizers.dq import (
    PARAMETRIZATIONS,
    Grid,
    Parametrization,
    codes_of,
    mse_step,
    pass_through,
)
from qcore.quantizers.power_of_two import POWER_OF_TWO, doublings

LARGEST_BITS_GRADIENT = 1.0

MOST_BITS = 16
"""Bits that a tensor which may have several widths may grow to while they are learned."""

KINDS = {**PARAMETRIZATIONS, POWER_OF_TWO.name: POWER_OF_TWO}
"""Which two numbers of a grid are learned, by name; inputs are even also where weights are not."""


class LearnedGrid(nn.Module):
    """The two learned numbers of one tensor.

    Args:
        kind: Which two are learned.
        widths: Bits the tensor may have, rising, none of them 32.
        powers: Whether steps are rounded to powers of two.
        what: Words for the tensor, for messages.
        decay: Weight decay of the two numbers.
        clipped: Whether their gradients are held to the step, those of bits to 1.

    Attributes:
        signed: Whether the tensor has negative values.
    """

    def __init__(
        self,
        kind: Parametrization,
        widths: Sequence[int],
        powers: bool,
        what: str,
        decay: float = 0.0,
        clipped: bool = True,
    ) -> None:
        super().__init__()
        self.kind, self.widths, self.powers, self.what = kind, tuple(widths), powers, what
        self.signed, self.decay, self.clipped = True, decay, clipped
        self.first = nn.Parameter(torch.zeros(()))
        self.second = nn.Parameter(torch.zeros(()))
        for parameter, name in zip((self.first, self.second), kind.free, strict=True):
            parameter.register_hook(lambda g, p=parameter, n=name: self._held(g, p, n == "bits"))

    @torch.no_grad()
    def _held(self, grad: Tensor, parameter: Tensor, bits: bool) -> Tensor:
        """The gradient, decay included; where clipped, no longer than the step."""
        if not self.clipped:
            return grad + self.decay * parameter
        limit = LARGEST_BITS_GRADIENT if bits else self.grid().step.detach()
        return (grad + self.decay * parameter).clamp(-limit, limit)

    def start(self, step: float, bits: int, signed: bool) -> None:
        """Begin at a step and bits.

        Raises:
            InvalidParams: this tensor may only have one bit, which no grid with a zero has.
        """
        self.signed = signed
        if signed and self.widths[-1] == 1 and self.kind.name != "power-of-two":
            raise InvalidParams(
                f"The {self.what} may have one bit only, and an even grid with both signs and a "
                "zero needs two. Allow 2 bits there."
            )
        with torch.no_grad():
            for parameter, value in zip(
                (self.first, self.second), self.kind.start(step, bits, signed), strict=True
            ):
                parameter.fill_(value)
        self.project()

    @property
    def range(self) -> tuple[int, int]:
        """Fewest and most bits it may begin with and end at."""
        floor = 1 if not self.signed or self.kind.name == "power-of-two" else 2
        return max(floor, self.widths[0]), self.widths[-1]

    @torch.no_grad()
    def project(self) -> None:
        """Put both numbers back where they are allowed."""
        low, high = self.range
        # a tensor of one width has nothing to learn about it
        most = max(high, MOST_BITS) if len(self.widths) > 1 else high
        values = self.kind.project(self.first, self.second, self.signed, self.powers, low, most)
        for parameter, value in zip((self.first, self.second), values, strict=True):
            parameter.copy_(value)

    def grid(self) -> Grid:
        """The grid they stand for."""
        return self.kind.grid(self.first, self.second, self.signed, self.powers)

    def bits(self, grid: Grid) -> Tensor:
        """Bits that are paid for: the fewest allowed ones that hold the inferred bits, ().

        Where none does, all the inferred ones are.
        """
        allowed = torch.tensor(self.widths, dtype=grid.bits.dtype, device=grid.bits.device)
        inferred = grid.bits.detach()
        paid = allowed[(allowed < inferred).sum().clamp_max(len(self.widths) - 1)]
        paid = torch.maximum(paid, inferred)
        return pass_through(paid, grid.bits) if len(self.widths) > 1 else paid

    def step_at(self, bits: int) -> Tensor:
        """Step () at some bits: the learned one, or where it takes more bits one that does not.

        Then the largest level stays. Of powers of two it is the smallest level.
        """
        grid = self.grid()
        if int(grid.bits) <= bits:
            return grid.step
        if self.kind.name == POWER_OF_TWO.name:
            return grid.reach / 2.0 ** doublings(bits)
        return grid.reach / max(1, codes_of(bits, self.signed))

    def forward(self, x: Tensor) -> Tensor:
        """Put a tensor of any shape on the grid."""
        return self.kind.quantize(x, self.grid(), self.signed)

    def get_extra_state(self) -> dict[str, bool]:
        """What a checkpoint keeps beside the two numbers."""
        return {"signed": self.signed}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Read what `get_extra_state` gave."""
        self.signed = state["signed"]


class DqLayer(QatLayer):
    """A layer with a learned grid for its weights and one for its input.

    Args:
        name: Dotted module path in the model.
        module: The float layer; copied.
        options: Bits it may have.
        kind: Key of KINDS, for the weights.
        powers: Whether steps are rounded to powers of two.
        decay: Weight decay of the learned grids.
        clipped: Whether gradients of the learned grids are clipped.

    Attributes:
        weights: Grid of the weights; None where they may only be in float.
        inputs: Grid of the input; None where it may only be in float.
        begin: Bits to begin with, or None for four.
    """

    def __init__(
        self,
        name: str,
        module: Any,
        options: Iterable[LayerBits],
        kind: str = "step-range",
        powers: bool = False,
        decay: float = 0.0,
        clipped: bool = True,
    ) -> None:
        super().__init__(name, module)
        self.options = tuple(options)
        self.begin: LayerBits | None = None
        self.started = False
        widths = sorted({o.weight for o in self.options} - {FLOAT_BITS})
        inputs = sorted({o.activation for o in self.options} - {FLOAT_BITS})
        even = KINDS["step-range"] if kind == POWER_OF_TWO.name else KINDS[kind]
        self.weights: LearnedGrid | None = None
        self.inputs: LearnedGrid | None = None
        if widths:
            what = f"weights of layer {name!r}"
            self.weights = LearnedGrid(KINDS[kind], widths, powers, what, decay, clipped)
        if inputs:
            what = f"input of layer {name!r}"
            self.inputs = LearnedGrid(even, inputs, powers, what, decay, clipped)

    def start_scales(self, options: Iterable[LayerBits], histogram: Histogram) -> None:
        """Begin both grids, from the weights and the histogram of the input."""
        if self.weights is not None:
            bits = _allowed(self.weights, 4 if self.begin is None else self.begin.weight)
            if self.begin is None:
                step = paper_step(self.weight, bits)
            else:
                step = mse_step(self.weight, bits)
            self.weights.start(step, bits, True)
        if self.inputs is not None:
            bits = _allowed(self.inputs, 4 if self.begin is None else self.begin.activation)
            signed = histogram.smallest < 0
            bits = max(bits, 2) if signed else bits
            grid = mse_grid(histogram, bits)
            self.inputs.start(grid.step, bits, signed)
        self.started = True

    def grids(self) -> tuple[Grid | None, Grid | None]:
        """Grids of the weights and of the input."""
        return (
            None if self.weights is None else self.weights.grid(),
            None if self.inputs is None else self.inputs.grid(),
        )

    def after_step(self) -> None:
        """Put the grids back where they are allowed."""
        for part in (self.weights, self.inputs):
            if part is not None:
                part.project()

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the float layer; in float until the grids have begun."""
        weight = self.weight
        if self.started:
            if self.inputs is not None and x.is_floating_point():
                x = self.inputs(x)
            if self.weights is not None:
                weight = self.weights(weight)
        return self.operation.call(x, weight, self.bias)

    def inferred(self) -> LayerBits:
        """Bits that are paid for, which may be more than any option has.

        Raises:
            Diverged: a step or range is NaN or infinite.
        """
        wanted = []
        for part, grid in zip((self.weights, self.inputs), self.grids(), strict=True):
            if grid is not None and not bool(torch.isfinite(grid.bits + grid.step + grid.reach)):
                raise Diverged(
                    f"A step or range of layer {self.name!r} became NaN or infinite while its bits "
                    "were learned; lower the learning rate."
                )
            wanted.append(FLOAT_BITS if part is None or grid is None else int(part.bits(grid)))
        return LayerBits(*wanted)

    def chosen(self) -> LayerBits:
        """The cheapest option that holds the inferred bits of weights and input.

        Where none holds both, the one that lacks least.

        Raises:
            Diverged: a step or range is NaN or infinite.
        """
        wanted = self.inferred()
        return min(
            self.options,
            key=lambda o: (
                max(0, wanted.weight - o.weight) + max(0, wanted.activation - o.activation),
                o.weight + o.activation,
            ),
        )

    @torch.no_grad()
    def freeze(self, into: TrainableLayer, bits: LayerBits) -> None:
        """Give a layer of a TrainableModel these weights and grids, fixed, at its bits.

        A grid that takes more bits is made coarser, its largest level kept.

        Raises:
            NotCalibrated: the grids never began.
        """
        if not self.started:
            raise NotCalibrated(f"The grids of layer {self.name!r} have not begun.")
        into.weight.copy_(self.weight)
        if into.bias is not None and self.bias is not None:
            into.bias.copy_(self.bias)
        weights, inputs = self.grids()
        if weights is not None and self.weights is not None and bits.weight != FLOAT_BITS:
            key = into.key("w", bits.weight)
            # the frozen grid goes on to the end of its bits; the weights do not, to begin with
            into.weight.clamp_(-weights.reach, weights.reach)
            into.scales[key] = nn.Parameter(self.weights.step_at(bits.weight).detach().clone())
            into.trained.add(key)
        if inputs is not None and self.inputs is not None and bits.activation != FLOAT_BITS:
            key = into.key("a", bits.activation)
            learned = self.inputs.step_at(bits.activation).detach()
            step = float(learned)
            high = round(float((inputs.reach / learned).detach()))
            low = -high if self.inputs.signed else 0
            into.scales[key] = nn.Parameter(learned.clone())
            into.grids[bits.activation] = ActivationGrid(step, low, high)
            into.trained.add(key)

    def get_extra_state(self) -> dict[str, bool]:
        """What a checkpoint keeps beside the tensors."""
        return {"started": self.started}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Read what `get_extra_state` gave."""
        self.started = state["started"]


def paper_step(weight: Tensor, bits: int) -> float:
    """2^floor(log2(max|w| / (2^(b-1) - 1))) up to 4 bits, ceil above: the published start."""
    largest = max(float(weight.detach().abs().max()), 1e-12)
    power = torch.log2(torch.tensor(largest / max(1, 2 ** (bits - 1) - 1)))
    return float(torch.exp2(power.floor() if bits <= 4 else power.ceil()))


def _allowed(part: LearnedGrid, bits: int) -> int:
    low, high = part.range
    return min(max(bits, low), high)
