"""Trains the layers of one and two bits through mirror maps, all others by LSQ, and hardens them.

The sharpness rises step by step; then a tail at the levels themselves, gradients straight through,
lets norms and other layers follow; then the levels become the weights of a plain trained network
and its norms are estimated anew. The tail is an extension: without it, weights within 0.05 of their
levels still cost many points once rounded.

Reference: Ajanthan et al., arXiv 1910.08237, AISTATS 2021; see `quantizers.mirror_maps`.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from qcore.errors import InvalidParams
from qcore.judges import Judge
from qcore.judges.tally import Batch, mean_score
from qcore.network.readers import put
from qcore.problem import Progress
from qcore.qat.batches import Epoch
from qcore.qat.loop import Plan, Stage, seeded, train_stage
from qcore.qat.mirror.layer import MirrorLayer
from qcore.qat.model import TrainableModel
from qcore.qat.requests import Hardened, LowBits, Quantization
from qcore.qat.setup import Setup, keep_stage
from qcore.quantizers.mirror_maps import HARD, sharpness
from qcore.quantizers.mirror_methods import METHODS

MULTIPLICATIONS = 500
GAP_IMAGES = 512
LARGEST_GAP = 0.005
STRAYING = 0.01
BYTES = 4
"""Of a variable in training."""
QUANTIZATION = Quantization("lsq")


class MirrorModel(TrainableModel):
    """A TrainableModel whose layers of few levels are mirror layers.

    Args:
        setup: The network and its layers.
        low: Bits, of which one and two get few levels, and how those are trained.

    Attributes:
        low_layers: Layer name to its mirror layer.

    Raises:
        InvalidParams: the method is unknown, or has no map for the levels of some layer.
    """

    def __init__(self, setup: Setup, low: LowBits) -> None:
        found, device, network = setup.found, setup.device, setup.exposed_network
        super().__init__(
            network, found, setup.options, quantizer=QUANTIZATION.quantizer, device=device
        )
        self.low_layers: dict[str, MirrorLayer] = {}
        self._learned: set[str] = set()
        for name, bits in low.allocation.items():
            codes = codes_of_width(bits.weight, low.ternary)
            if codes is None:
                continue
            check_method(low.method, codes, name)
            module, method = network.get_submodule(name), METHODS[low.method]
            layer = MirrorLayer(name, module, codes, method, bits.weight).to(device)
            aliases, readers = (each.get(name, ()) for each in (found.aliases, found.readers))
            put(self.network, layer, name, aliases, readers)
            self.layers[name] = self.low_layers[name] = layer
            if low.learn_scales or name not in self.norms:
                self._learned.add(name)

    @property
    def without_norm(self) -> list[str]:
        """Low-bit layers whose scale nothing behind them takes away."""
        return [name for name in self.low_layers if name not in self.norms]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is trained; auxiliary variables are among the "plain", which do not decay."""
        groups = super().groups()
        for name, layer in self.low_layers.items():
            own = {id(layer.weight)} | {id(s) for s in layer.scales.values()}
            for kind in ("weights", "scales"):
                groups[kind] = [p for p in groups[kind] if id(p) not in own]
            groups["plain"].append(layer.auxiliary)
            kept = [s for key, s in layer.scales.items() if key.startswith("a")]
            groups["scales"] += kept + ([layer.scale] if name in self._learned else [])
        return groups

    def set_beta(self, beta: float) -> None:
        """Sharpness of all low-bit layers."""
        for layer in self.low_layers.values():
            layer.beta = beta

    def set_pull(self, pull: float) -> None:
        """How far ProxQuant's next step pulls, in scales."""
        for layer in self.low_layers.values():
            layer.pull = pull

    def off_level(self) -> float:
        """Share of low-bit weights further than 0.05 from a level, 0..1."""
        total = sum(layer.weight.numel() for layer in self.low_layers.values())
        off = sum(x.off_level() * x.weight.numel() for x in self.low_layers.values())
        return off / max(1, total)


def codes_of_width(bits: int, ternary: bool) -> tuple[int, ...] | None:
    """Levels of a width as whole codes; None where it has more than a mirror map is for."""
    if bits == 2:
        return (-1, 0, 1) if ternary else (-2, -1, 0, 1)
    return (-1, 1) if bits == 1 else None


def check_method(method: str, codes: tuple[int, ...], layer: str) -> None:
    """Refuse levels that a method's map does not have.

    Raises:
        InvalidParams: no such method or levels.
    """
    if method not in METHODS:
        raise InvalidParams(f"Unknown method {method!r}; known: {', '.join(METHODS)}.")
    known = METHODS[method]
    if len(codes) > known.most_levels:
        raise InvalidParams(
            f"{known.title} has a map for at most {known.most_levels} levels, and layer {layer!r} "
            f"has {len(codes)} of them. Choose a softmax method, which takes any."
        )


def train(setup: Setup, request: LowBits) -> Generator[Progress, None, Hardened]:
    """Train an allocation with its low-bit layers soft, then hard, and keep the result as a stage.

    Args:
        setup: What is trained, on what.
        request: The bits, how their layers are trained, and the names of the stages.

    Yields:
        Progress after every epoch, with soft and hard accuracy and the share off their levels.

    Raises:
        InvalidData: there are no training images, or labels are needed and missing.
        InvalidParams: the method is unknown, or has no map for the levels of some layer.
        Diverged: the loss, or a parameter, is NaN or infinite.
    """
    images = setup.training_images
    model = MirrorModel(setup, request)
    model.start_scales(setup.calibration)
    for layer in model.low_layers.values():
        layer.begin()
    model.set_allocation(request.allocation)
    plan = Plan(**request.plan)
    steps = plan.epochs * Epoch(images, plan.batch_images, plan.epoch_images, False).steps
    sample = _sample(setup)

    def sharpen(step: int, generator: torch.Generator) -> None:
        model.set_beta(sharpness(step, steps, request.beta, max(1, steps // MULTIPLICATIONS)))
        model.set_pull(2 * request.strength / steps * step / steps)

    soft = Stage(
        name=f"{request.training}/soft",
        model=model,
        images=images,
        plan=plan,
        seed=setup.seed,
        device=setup.device,
        judge=setup.judge,
        teacher=setup.teacher,
        before_step=sharpen,
        measure=lambda: _measure(model, setup.judge, sample),
    )
    total = plan.epochs + request.tail_epochs
    for progress in train_stage(soft, setup.checkpoints):
        yield replace(progress, total=total)
    sharpen(max(0, steps - 1), torch.Generator())
    end = _measure(model, setup.judge, sample)
    tail = replace(
        soft,
        name=f"{request.training}/tail",
        plan=replace(plan, epochs=request.tail_epochs),
        before_step=lambda step, generator: model.set_beta(HARD),
    )
    for progress in train_stage(tail, setup.checkpoints):
        yield replace(progress, step=plan.epochs + progress.step, total=total)
    _harden(setup, request, model)
    gap = end.get("gap")
    return Hardened(
        gap,
        end["off_level"],
        _warnings(model, request, gap, end["off_level"]),
        sum(x.auxiliary.numel() for x in model.low_layers.values()) * BYTES,
        sum(x.weight.numel() for x in model.low_layers.values()) * BYTES,
    )


def _sample(setup: Setup) -> list[Batch]:
    """Some training samples, always the same, to compare soft and hard weights on."""
    images = setup.training_images
    order = torch.randperm(len(images), generator=seeded(setup.seed, "soft and hard"))
    index = order[:GAP_IMAGES]
    return list(images.at(index).batches(128, setup.device))


@torch.no_grad()
def _measure(model: MirrorModel, judge: Judge, sample: list[Batch]) -> dict[str, Any]:
    """Soft and hard accuracy with the statistics of the batch, and what is not yet at a level."""
    if not model.low_layers:
        return {"off_level": 0.0}
    beta = next(iter(model.low_layers.values())).beta
    figures: dict[str, Any] = {"beta": None if beta == HARD else beta}
    figures["off_level"] = model.off_level()
    for name, sharp in (("soft_accuracy", beta), ("hard_accuracy", HARD)):
        model.set_beta(sharp)
        with model.batch_statistics() as network:
            found = mean_score(judge, network, sample, None)
        if found is not None and judge.score.share:
            figures[name] = found
    model.set_beta(beta)
    model.set_training(True)
    if "hard_accuracy" in figures:
        figures["gap"] = figures["soft_accuracy"] - figures["hard_accuracy"]
    return figures


def _harden(setup: Setup, request: LowBits, model: MirrorModel) -> None:
    plain = setup.build(QUANTIZATION)
    for layer_name, layer in model.layers.items():
        into = plain.layers[layer_name]
        if isinstance(layer, MirrorLayer):
            layer.harden(into)
        else:
            into.make_scales(layer.scales)
            into.load_state_dict(layer.state_dict())
    for layer_name, norm in model.norms.items():
        plain.norms[layer_name].load_state_dict(norm.state_dict())
    keep_stage(setup, request.stage, plain, request.allocation, QUANTIZATION)


def _warnings(
    model: MirrorModel, low: LowBits, gap: float | None, off_level: float
) -> tuple[str, ...]:
    said = []
    if not model.low_layers:
        said.append("No layer has one or two bits: all of them were trained by LSQ.")
    if (gap is not None and gap > LARGEST_GAP) or off_level > STRAYING:
        lost = "" if gap is None else f", and rounding cost {100 * gap:.1f} points before the tail"
        said.append(
            f"The annealing ended soft: {off_level:.1%} of the low-bit weights were not at a level"
            f"{lost}. Raise beta (now up to {low.beta:g}) or train for longer."
        )
    if model.without_norm:
        said.append(
            f"No batch-norm follows {', '.join(model.without_norm)}: the learned scale of each "
            "layer takes its place."
        )
    return tuple(said)
