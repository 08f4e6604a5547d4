"""A network all of whose quantizers learn their bits, and what those bits cost, differentiably."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.costs import COSTS
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.errors import InvalidParams
from qcore.network.layers import Found
from qcore.qat.learned_bits.layer import DqLayer
from qcore.qat.model import Options, QatModel, TrainableModel
from qcore.rules.ties import PARTS, Tie

PAPER_KB = {"weight_bytes": 70.1, "activation_bytes_sum": 92.1, "activation_bytes_max": 8.1}
"""Budgets of the paper's own network, kB: what its strength of the penalty belongs to."""


class DqModel(QatModel[DqLayer]):
    """A float model whose layers learn their grids, and with them their bits.

    Args:
        model: The float model; copied.
        found: Its layers.
        options: Bits each layer may have.
        kind: Key of KINDS; with "power-of-two" inputs are "step-range".
        powers: Whether steps are rounded to powers of two.
        decay: Weight decay, which here also acts on the learned grids.
        clipped: Whether gradients of the learned grids are clipped.
        device: Where it runs.
        ties: Layers that share one width: the widest that one of them needs.

    Attributes:
        best: Tensors of the best state seen within the limits; None before there was one.
        best_value: Its loss on the validation samples.
        best_score: The judge's score of it there.
    """

    def __init__(
        self,
        model: nn.Module,
        found: Found,
        options: Options,
        *,
        kind: str = "step-range",
        powers: bool = False,
        decay: float = 0.0,
        clipped: bool = True,
        device: str = "cpu",
        ties: Sequence[Tie] = (),
    ) -> None:

        def make_layer(name: str, module: Any) -> DqLayer:
            return DqLayer(name, module, options[name], kind, powers, decay, clipped)

        super().__init__(model, found, options, make_layer, device=device)
        self.ties = tuple(ties)
        self.best: dict[str, Tensor] | None = None
        self.best_value = float("inf")
        self.best_score = 0.0

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is trained: "weights", "plain" (biases and norms), "scales" (the grids)."""
        groups: dict[str, list[nn.Parameter]] = {"weights": [], "plain": [], "scales": []}
        for layer in self.layers.values():
            groups["weights"].append(layer.weight)
            if layer.bias is not None:
                groups["plain"].append(layer.bias)
            for part in (layer.weights, layer.inputs):
                if part is not None:
                    groups["scales"] += [part.first, part.second]
        for norm in self.norms.values():
            groups["plain"].extend(norm.parameters())
        return groups

    def chosen(self) -> BitAllocation:
        """The allocation whose codes hold everything the grids use now; tied layers alike."""
        return self._tied({name: layer.chosen() for name, layer in self.layers.items()})

    def inferred(self) -> BitAllocation:
        """The bits that are paid for now, which may be more than a layer is allowed."""
        found = {}
        for name, layer in self.layers.items():
            bits, wanted = layer.chosen(), layer.inferred()
            found[name] = LayerBits(
                max(bits.weight, wanted.weight), max(bits.activation, wanted.activation)
            )
        return self._tied(found)

    def _tied(self, bits: dict[str, LayerBits]) -> BitAllocation:
        for tie in self.ties:
            widest = max(getattr(bits[name], tie.part) for name in tie.layers)
            bits |= {name: replace(bits[name], **{tie.part: widest}) for name in tie.layers}
        return BitAllocation(bits)

    def costs(
        self, names: Iterable[str], costs: Mapping[str, CostModel] = COSTS
    ) -> dict[str, Tensor]:
        """Smooth costs of the bits in use, in their units, shape () and differentiable.

        Args:
            names: Of the costs that are wanted.
            costs: The costs there are.

        Raises:
            InvalidParams: a cost has no smooth form.
        """
        pairs: dict[str, tuple[Tensor | float, Tensor | float]] = {}
        for name, layer in self.layers.items():
            weights, inputs = layer.grids()
            pairs[name] = (
                FLOAT_BITS
                if layer.weights is None or weights is None
                else layer.weights.bits(weights),
                FLOAT_BITS if layer.inputs is None or inputs is None else layer.inputs.bits(inputs),
            )
        for tie in self.ties:
            # all are paid as the widest, so that one alone feels the price until it is not
            at = PARTS.index(tie.part)
            paid = [torch.as_tensor(pairs[name][at], dtype=torch.float32) for name in tie.layers]
            widest = torch.stack(paid).max()
            for name in tie.layers:
                weight, activation = pairs[name]
                pairs[name] = (weight, widest) if at else (widest, activation)
        return {name: self._smooth(costs[name], pairs) for name in names}

    def _smooth(
        self, cost: CostModel, pairs: Mapping[str, tuple[Tensor | float, Tensor | float]]
    ) -> Tensor:
        if cost.smooth is None:
            raise InvalidParams(
                f"{cost.title} has no smooth form, so bits cannot be learned under a limit on it. "
                "Limit another cost."
            )
        prices = [cost.smooth(layer, *pairs[layer.name]) for layer in self.spec.layers]
        rows = [torch.as_tensor(price, dtype=torch.float32) for price in prices]
        device = next((row.device for row in rows if row.requires_grad), torch.device("cpu"))
        together = torch.stack([row.to(device) for row in rows])
        combined = together.max() if cost.reduce == "max" else together.sum()
        return combined + cost.fixed(self.spec)

    def remember(self, value: float, score: float = 0.0) -> None:
        """Keep this state as the best within the limits, if its loss is; the latest of equals."""
        if value <= self.best_value:
            self.best_value, self.best_score, self.best = value, score, self._tensors()

    def recall(self) -> None:
        """Go back to the best state within the limits, if there was one."""
        if self.best is not None:
            self.load_state_dict({**self.state_dict(), **self.best})

    def _tensors(self) -> dict[str, Tensor]:
        state = self.state_dict()
        return {k: v.detach().clone() for k, v in state.items() if torch.is_tensor(v)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.load_state_dict(dict(state))

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the tensors: the best state."""
        return {
            "best": copy.copy(self.best), "value": self.best_value, "score": self.best_score
        }  # fmt: skip

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Read what `get_extra_state` gave."""
        self.best, self.best_value = state["best"], state["value"]
        self.best_score = state.get("score", 0.0)

    @torch.no_grad()
    def freeze(self, into: TrainableModel, allocation: BitAllocation) -> None:
        """Give a TrainableModel these weights, norms and grids, at an allocation."""
        for name, layer in self.layers.items():
            layer.freeze(into.layers[name], allocation[name])
        for name, norm in self.norms.items():
            into.norms[name].load_state_dict(norm.state_dict())


def penalty(
    model: DqModel,
    limits: Mapping[str, float],
    strength: float,
    exact: Mapping[str, int],
    costs: Mapping[str, CostModel] = COSTS,
) -> Tensor:
    """Squared hinge over the limits, as if the network had the paper's own sizes.

    strength * sum over limits (P max(0, S / L - 1))^2, P the paper's budget in kB, which is
    strength * max(0, S - L)^2 in kB scaled by (P / L)^2: the paper rescales so between networks.

    Args:
        model: What is trained.
        limits: Cost name to limit L, in the cost's unit.
        strength: The paper's lambda, 0.1.
        exact: The costs S in whole units; the gradient is that of their smooth forms. One that is
            absent has bits that its table does not list, and is over any limit.
        costs: The costs there are.
    """
    total = torch.zeros(())
    for name, smooth in model.costs(limits, costs).items():
        value = smooth + (exact.get(name, UNPRICED) - smooth.detach())
        over = (value / limits[name] - 1).clamp_min(0)
        total = total.to(over.device) + strength * (PAPER_KB.get(name, 70.1) * over) ** 2
    return total
