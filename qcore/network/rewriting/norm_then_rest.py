"""A batch-norm that also applies dropout and an activation, taken apart.

timm's networks join the three in one class. A batch-norm that is folded into the layer before it is
removed, and must not take the activation with it.
"""

from typing import Any

from torch import Tensor, nn


class NormThenRest(nn.Module):
    """A plain batch-norm, then what the original did behind it.

    Args:
        module: timm's BatchNormAct2d; its parameters and statistics are shared.
        rows: Not used; slices of parameters already made (see `rewriting`).
    """

    def __init__(self, module: Any, rows: object = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(0, module.eps, module.momentum)
        kept = {key: value for key, value in vars(module).items() if key in vars(self.norm)}
        self.norm.__dict__.update(kept, _modules={})
        self.drop, self.act = module.drop, module.act

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        return self.act(self.drop(self.norm(x)))
