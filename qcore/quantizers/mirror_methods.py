"""Ways to train weights of few levels: the mathematics of each, as a record that a layer is given.

All of them train auxiliary variables in place of the weights. They differ in what those are, in the
soft weights they stand for, in the way the gradient takes, and in the step; `mirror_maps` has the
formulas and their sources.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from qcore.quantizers.mirror_maps import (
    hard_tanh,
    level_shares,
    md_softmax_step,
    md_tanh_step,
    mix,
    nearest_level,
    prox_step,
    softmax_map,
    tanh_map,
    ternary_codes,
    ternary_prox_step,
)

REACH = 3.0
"""Straight through, no gradient passes beyond this many scales."""


@dataclass(frozen=True)
class Method:
    """One way. Weights, scale () and auxiliary variables are in one unit, levels (k,) in scales.

    Attributes:
        title: What messages call it.
        begin: (weights, scale, levels) to the auxiliary variables that stand for them.
        soft: (auxiliary, scale, levels, sharpness) to the weights in scales below HARD.
        hard: (auxiliary, scale, levels) to the level each weight rounds to.
        passed: (auxiliary, scale, levels) to what the gradient of the weights goes to unchanged.
        most_levels: Levels it has a map for, at most.
        shares: Whether each weight has an auxiliary variable for each level, (k, ...).
        trained: (auxiliary, scale, levels, sharpness) to the weights themselves, where the
            gradient goes through a map below HARD; None where it goes to `passed`.
        step: (auxiliary before, what would be taken off in scales, sharpness) to the auxiliary
            variables after a step; None for the optimiser's own.
        pull: (auxiliary, scale, levels, how far) to the auxiliary variables after a pull towards
            the levels, which ends every step; None for none.
        size: (auxiliary) to the scale of three levels, where it follows the weights at every
            step; None where it is learned or stays.
        rests: Whether at HARD the weights stay as they are.
    """

    title: str
    begin: Callable[[Tensor, float, Tensor], Tensor]
    soft: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    hard: Callable[[Tensor, Tensor, Tensor], Tensor]
    passed: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda a, scale, levels: a
    most_levels: int = 4
    shares: bool = False
    trained: Callable[[Tensor, Tensor, Tensor, float], Tensor] | None = None
    step: Callable[[Tensor, Tensor, float], Tensor] | None = None
    pull: Callable[[Tensor, Tensor, Tensor, float], Tensor] | None = None
    size: Callable[[Tensor], Tensor] | None = None
    rests: bool = False


def _itself(weight: Tensor, scale: float, levels: Tensor) -> Tensor:
    return weight


def _soft_tanh(a: Tensor, scale: Tensor, levels: Tensor, beta: float) -> Tensor:
    return tanh_map(a / scale, beta, len(levels))


def _hard_tanh(a: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    return hard_tanh(a / scale, len(levels))


def _nearest(a: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    if len(levels) < 4:
        return hard_tanh(a / scale, len(levels))
    return nearest_level(a / scale, levels)


def _largest(a: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    return levels[a.argmax(0)]


def _mixed(a: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    return mix(a, levels)


def _softmax(a: Tensor, scale: Tensor, levels: Tensor, beta: float) -> Tensor:
    return mix(softmax_map(a / scale, beta), levels)


def _begun_shares(weight: Tensor, scale: float, levels: Tensor) -> Tensor:
    return scale * level_shares(weight / scale, levels)


def _prox_codes(a: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    return ternary_codes(a) if len(levels) == 3 else _nearest(a, scale, levels)


def _prox(a: Tensor, scale: Tensor, levels: Tensor, pull: float) -> Tensor:
    if len(levels) == 3:
        return ternary_prox_step(a, pull)
    return prox_step(a / scale, levels, pull) * scale


def _mean_size(a: Tensor) -> Tensor:
    """Mean size of the weights that are not 0: the scale both signs share."""
    codes = ternary_codes(a)
    return (a * codes).sum() / codes.abs().sum().clamp_min(1)


def _within_reach(a: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    limit = REACH * float(scale.detach())
    return a.clamp(-limit, limit)


METHODS = {
    "md-tanh-s": Method(
        "Mirror descent, tanh, stable",
        begin=_itself,
        soft=_soft_tanh,
        hard=_hard_tanh,
        most_levels=3,
    ),
    "md-softmax-s": Method(
        "Mirror descent, softmax, stable",
        begin=_begun_shares,
        soft=_softmax,
        hard=_largest,
        passed=_mixed,
        shares=True,
    ),
    "md-tanh": Method(
        "Mirror descent, tanh, without auxiliary variables",
        begin=lambda weight, scale, levels: tanh_map(weight / scale, 1.0, 2),
        soft=lambda a, scale, levels, beta: a,
        hard=lambda a, scale, levels: hard_tanh(a, len(levels)),
        most_levels=2,
        step=md_tanh_step,
        rests=True,
    ),
    "md-softmax": Method(
        "Mirror descent, softmax, without auxiliary variables",
        begin=lambda weight, scale, levels: softmax_map(level_shares(weight / scale, levels), 1.0),
        soft=lambda a, scale, levels, beta: mix(a, levels),
        hard=_largest,
        passed=_mixed,
        shares=True,
        step=md_softmax_step,
        rests=True,
    ),
    "gd-tanh": Method(
        "Gradient descent through tanh",
        begin=_itself,
        soft=_soft_tanh,
        hard=_hard_tanh,
        most_levels=3,
        trained=lambda a, scale, levels, beta: (
            scale * tanh_map(a / scale.detach(), beta, len(levels))
        ),
    ),
    "gd-softmax": Method(
        "Gradient descent through softmax (PMF)",
        begin=_begun_shares,
        soft=_softmax,
        hard=_largest,
        passed=_mixed,
        shares=True,
        trained=lambda a, scale, levels, beta: scale * _softmax(a, scale.detach(), levels, beta),
    ),
    "ste": Method(
        "Straight through (BinaryConnect)",
        begin=_itself,
        soft=lambda a, scale, levels, beta: _nearest(a, scale, levels),
        hard=_nearest,
        passed=_within_reach,
    ),
    "proxquant": Method(
        "ProxQuant",
        begin=_itself,
        soft=lambda a, scale, levels, beta: a / scale,
        hard=_prox_codes,
        trained=lambda a, scale, levels, beta: a,
        pull=_prox,
        size=_mean_size,
        rests=True,
    ),
}
"""Ways to train weights of few levels, by name."""
