"""A layer whose weights have two to four levels, trained through a mirror map.

All numbers are in the weights' own unit: the hull of the levels is scaled by the layer's scale a,
w = a P(x / a), so that one learning rate serves all methods and all layers. The gradient of w goes
to x unchanged in the mirror forms; that of a is sum g P.

Differs from the paper: it has no scales, batch-norms without affine part take their place, and it
starts from random weights. Here a trained network is made low-bit, its layers in the middle may
have more bits, and so every layer has one scale (an extension), learned or fixed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS
from qcore.qat.layer import TrainableLayer
from qcore.quantizers import LEARNED_QUANTIZERS
from qcore.quantizers.dq import mse_step
from qcore.quantizers.mirror_maps import HARD, nearest_level, scaled_levels
from qcore.quantizers.mirror_methods import Method

NEAR = 0.05


class MirrorLayer(TrainableLayer):
    """A layer of few levels; its input is quantized as LSQ does.

    Args:
        name: Dotted module path in the model.
        module: The float layer.
        codes: Levels as whole codes, rising, such as (-1, 1).
        method: How its weights are trained.
        width: Bits its levels take.

    Attributes:
        beta: Sharpness; HARD for the levels themselves.
        pull: How far ProxQuant's next step pulls, in scales.
        auxiliary: What is trained in place of the weight: x or w (in the weight's shape), or one
            of them for each level, (levels, ...).
    """

    def __init__(
        self, name: str, module: Any, codes: Sequence[int], method: Method, width: int
    ) -> None:
        super().__init__(name, module, LEARNED_QUANTIZERS["lsq"], None)
        self.method, self.codes, self.width = method, tuple(codes), width
        self.beta, self.pull = 1.0, 0.0
        self._before: Tensor | None = None
        # the weight is only where the auxiliary variables begin
        self.weight.requires_grad_(False)
        shape = (len(codes), *self.weight.shape) if method.shares else self.weight.shape
        self.auxiliary = nn.Parameter(torch.zeros(shape))

    @property
    def scale(self) -> Tensor:
        """The scale a, ()."""
        return self.scales[self.key("w", self.width)]

    @property
    def levels(self) -> Tensor:
        """Levels in scales, (levels,)."""
        return scaled_levels(self.codes, self.weight)

    @torch.no_grad()
    def begin(self) -> None:
        """Begin scale and auxiliary variables at the float weights."""
        scale = mse_step(self.weight, self.width)
        if len(self.codes) == 4:
            scale = LEARNED_QUANTIZERS["lsq"].weight_start(self.weight, self.width)
        self.scale.fill_(scale)
        self.auxiliary.copy_(self.method.begin(self.weight, scale, self.levels))

    @torch.no_grad()
    def soft(self) -> Tensor:
        """Weights in scales as the map gives them now, without gradient; levels where HARD."""
        if self.beta == HARD:
            return self.hard()
        return self.method.soft(self.auxiliary, self.scale, self.levels, self.beta).clone()

    @torch.no_grad()
    def hard(self) -> Tensor:
        """Codes the weights round to, in the weight's shape."""
        return self.method.hard(self.auxiliary, self.scale, self.levels)

    def off_level(self) -> float:
        """Share of weights further than NEAR from a level, 0..1."""
        soft = self.soft()
        return float(((soft - nearest_level(soft, self.levels)).abs() > NEAR).double().mean())

    @property
    def frozen(self) -> bool:
        """Whether the weights stay as they are: at hard levels some methods move none."""
        return self.beta == HARD and self.method.rests

    def quantized(self) -> Tensor:
        """The soft weights in the weight's unit, with the method's gradient."""
        if self.bits.weight == FLOAT_BITS or self.float_weights:
            return self.weight
        method, a = self.method, self.auxiliary
        if self.frozen:
            return self.scale * self.soft()
        if torch.is_grad_enabled() and method.step is not None:
            self._before = a.detach().clone()
        if method.trained is not None and self.beta != HARD:
            return method.trained(a, self.scale, self.levels, self.beta)
        passed = method.passed(a, self.scale, self.levels)
        return self.scale * self.soft() + (passed - passed.detach())

    def after_step(self) -> None:
        """The rest of a step, in the dual space or towards the levels."""
        super().after_step()
        method = self.method
        if method.pull is not None and self.pull and not self.frozen:
            pulled = method.pull(self.auxiliary, self.scale, self.levels, self.pull)
            self.auxiliary.copy_(pulled)
            if method.size is not None and len(self.codes) == 3:
                self.scale.copy_(method.size(pulled))
        if self._before is None or method.step is None:
            return
        change = (self._before - self.auxiliary) / self.scale
        self.auxiliary.copy_(method.step(self._before, change, self.beta))
        self._before = None

    @torch.no_grad()
    def harden(self, into: TrainableLayer) -> None:
        """Give a plain LSQ layer these levels as its weights."""
        state = {k: v for k, v in self.state_dict().items() if k != "auxiliary"}
        into.make_scales(self.scales)
        into.load_state_dict(state)
        into.weight.copy_(self.hard() * self.scale)
