"""What a network that changes precision while running can be switched to. Torch-free.

A *rung* is one of the bits a layer was trained at, a *switch* an allocation of the whole network in
which every layer is on the same rung, as far as it has it. SP-Nets knows switches only; in
Bit-Mixer every layer takes any of its rungs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.errors import InvalidAllocation, InvalidParams
from qcore.problem import Problem
from qcore.rules.ties import Tie, holds
from qcore.solvers.decisions import decisions_of, drawn, joint_options, nearest_allowed

Rungs = Mapping[str, tuple[LayerBits, ...]]

KINDS = ("shared", "switch", "producer", "consumer", "pair")
"""What a copy of a batch-norm is private to: nothing; the switch; the bits of the layer before it,
those of the layer that reads it, or both."""


def words(bits: LayerBits) -> str:
    """Bits as text, weights first: "4/8"."""
    return f"{bits.weight}/{bits.activation}"


@dataclass(frozen=True)
class NormPlan:
    """How the batch-norms of a switchable network are kept apart.

    Attributes:
        kind: One of KINDS.
        switches: Name, such as "4/8", to its allocation, widest first.
        ties: Layers that share one width in every step.

    Raises:
        InvalidParams: no such kind, or no switch.
    """

    kind: str
    switches: Mapping[str, BitAllocation]
    ties: tuple[Tie, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidParams(f"norms must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        if not self.switches:
            raise InvalidParams("A switchable network needs at least one switch; got none.")

    @property
    def rungs(self) -> dict[str, tuple[LayerBits, ...]]:
        """Layer name to the bits it has in some switch, widest first."""
        names = next(iter(self.switches.values()))
        return {
            name: tuple(dict.fromkeys(switch[name] for switch in self.switches.values()))
            for name in names
        }

    def find(self, allocation: BitAllocation) -> str:
        """Name of the switch that an allocation is; "" where it is none.

        Raises:
            InvalidAllocation: the network was not trained for it; lists what it was trained for.
        """
        for name, switch in self.switches.items():
            if switch == allocation:
                return name
        trained = ", ".join(self.switches)
        if self.kind == "switch":
            raise InvalidAllocation(
                "This network was not trained for these bits, only for the switches "
                f"{trained} (weight/activation bits) of the whole network."
            )
        for layer, rungs in self.rungs.items():
            if allocation[layer] not in rungs:
                known = ", ".join(map(words, rungs))
                raise InvalidAllocation(
                    f"Layer {layer!r} was not trained at {words(allocation[layer])} bits "
                    f"(weight/activation); trained: {known}."
                )
        return ""

    def switch(self, name: str) -> BitAllocation:
        """The allocation of a switch.

        Raises:
            InvalidAllocation: there is none of this name; lists the trained ones.
        """
        if name not in self.switches:
            raise InvalidAllocation(
                f"This network was not trained for the switch {name!r}; trained: "
                f"{', '.join(self.switches)} (weight/activation bits)."
            )
        return self.switches[name]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `NormPlan.from_json` reads it back."""
        switches = [[name, allocation.to_json()] for name, allocation in self.switches.items()]
        ties = {"ties": [tie.to_json() for tie in self.ties]} if self.ties else {}
        return {"kind": self.kind, "switches": switches, **ties}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NormPlan":
        """Read what `to_json` wrote."""
        switches = {name: BitAllocation.from_json(bits) for name, bits in data["switches"]}
        return cls(data["kind"], switches, tuple(map(Tie.from_json, data.get("ties", ()))))


@dataclass(frozen=True, slots=True)
class Joint:
    """Training of all switches, or of the widest and some random allocations, in every step.

        L = labels * CE(o, y) + outputs * KL(teacher || o) + features * mean_k MSE(f_k, t_k)

    is the loss of every switch but the widest, which has no teacher and learns from the labels
    alone; with `mixed` the mean over k is a sum, as in RFQuant (Tang et al. 2024). The features
    f_k, and its teacher's t_k, are what comes out of every batch-norm; of a random allocation
    those behind layers on their narrowest rung. Without labels the float network's outputs take
    their place.

    Attributes:
        teacher: Who teaches a switch: "fixed" (the widest), "next" (the next wider one) or "all"
            (the mean over all wider ones).
        labels: Weight of the cross-entropy.
        outputs: Weight of the KL divergence of the outputs.
        features: Weight of the features' squared error.
        mixed: Random allocations in every step, in place of the narrower switches; 0 is the
            switches. The widest alone can teach them.

    Raises:
        InvalidParams: no such teacher, a negative weight or count, or nothing to learn from.
    """

    teacher: str = "fixed"
    labels: float = 0.5
    outputs: float = 0.5
    features: float = 0.1
    mixed: int = 0

    def __post_init__(self) -> None:
        if self.mixed < 0 or (self.mixed and self.teacher != "fixed"):
            raise InvalidParams(
                "mixed must be 0 or more random allocations, and their teacher fixed; got "
                f"{self.mixed} and {self.teacher!r}."
            )
        if self.teacher not in ("fixed", "next", "all"):
            raise InvalidParams(f"teacher must be fixed, next or all; got {self.teacher!r}.")
        if min(self.labels, self.outputs, self.features) < 0 or not self.labels + self.outputs > 0:
            raise InvalidParams(
                "The weights of labels, outputs and features must not be negative, and labels or "
                f"outputs must count; got {self.labels}, {self.outputs} and {self.features}."
            )

    @property
    def distils(self) -> bool:
        """Whether narrower switches learn from wider ones."""
        return self.outputs > 0 or self.features > 0


def rungs_of(problem: Problem) -> dict[str, tuple[LayerBits, ...]]:
    """One option of a layer for each of its weight widths, widest first.

    The activation width is the one nearest to the weight width. Where there is one weight width
    only, there is a rung for each activation width instead (the asymmetric mode of SP-Nets). Rungs
    with which tied layers could not keep their tie are left out.

    Raises:
        InvalidParams: tied layers have no rung left.
    """
    rungs = {}
    for name, options in problem.options.items():
        by_weight: dict[int, LayerBits] = {}
        for bits in sorted(options, reverse=True):
            best = by_weight.get(bits.weight, bits)
            nearer = abs(bits.activation - bits.weight) < abs(best.activation - best.weight)
            by_weight[bits.weight] = bits if nearer else best
        chosen = by_weight.values() if len(by_weight) > 1 else sorted(options, reverse=True)
        rungs[name] = tuple(chosen)
    kept = joint_options(list(rungs), rungs, problem.ties)
    return {name: tuple(row) for name, row in kept.items()}


def switches_of(rungs: Rungs, ties: Sequence[Tie] = ()) -> dict[str, BitAllocation]:
    """Every rung of the network as a switch, widest first; layers without it take their nearest."""
    free = [row for row in rungs.values() if len(row) > 1] or list(rungs.values())
    # an embedding has no input with bits, so its rungs are no precision of the whole network
    full = [row for row in free if any(bits.activation != FLOAT_BITS for bits in row)]
    free = full or free
    switches: dict[str, BitAllocation] = {}
    for rung in sorted({bits for row in free for bits in row}, reverse=True):
        names = list(rungs)
        allocation = BitAllocation(_switch(rungs, rung))
        if not holds(ties, allocation):
            wanted = dict.fromkeys(names, rung)
            allocation = BitAllocation(nearest_allowed(names, rungs, ties, wanted))
        if allocation not in switches.values():
            switches[words(rung)] = allocation
    return switches


def _switch(rungs: Rungs, rung: LayerBits) -> dict[str, LayerBits]:
    return {name: _nearest(row, rung) for name, row in rungs.items()}


def _nearest(row: Iterable[LayerBits], wanted: LayerBits) -> LayerBits:
    return min(
        row,
        key=lambda b: abs(b.weight - wanted.weight) + abs(b.activation - wanted.activation),
    )


def random_allocation(
    rungs: Rungs, rng: np.random.Generator, ties: Sequence[Tie] = ()
) -> BitAllocation:
    """Every layer on a rung of its own, tied ones on rungs that keep their tie, drawn evenly."""
    names = list(rungs)
    return BitAllocation(drawn(decisions_of(names, rungs, ties), names, rng))
