"""Networks for quantization-aware training (QAT); TrainableModel is a QuantizedModel's twin there.

Batch-norms are not folded while training; each layer quantizes its weights and its input with a
learned quantizer, at bits that switch in O(layers). `state` gives a QuantizedModel everything it
needs to compute the same logits without this class.

What is trained: the layers' weights and biases, the batch-norms that fold into a layer, and the
quantizers' scales. What is left in float (`ModelSpec.left_in_float`) and every other norm stays as
it was, so that a configuration file is complete with its layers alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits
from qcore.errors import InvalidAllocation, InvalidParams
from qcore.network.forward_pass import explicit_attention
from qcore.network.layers import Found
from qcore.network.operation import to_rows
from qcore.network.readers import put
from qcore.network.rewriting import expose_layers
from qcore.network.running import channels_last, copied, run
from qcore.qat.layer import QatLayer, TrainableLayer
from qcore.qat.norms import TransitionalNorm, install_norms
from qcore.qat.switches import NormPlan
from qcore.quantizers import LEARNED_QUANTIZERS, Histogram
from qcore.trees import Tree

Options = Mapping[str, tuple[LayerBits, ...]]


Layer = TypeVar("Layer", bound=QatLayer)


class QatModel(nn.Module, Generic[Layer]):
    """A float model whose layers quantize while they are trained, whatever says their bits.

    Args:
        model: The float model; it is copied, never changed.
        found: Its layers, from `find_layers`.
        options: The bits each layer may have.
        make_layer: (name, float layer) to what takes its place.
        device: Where it runs.
        plan: What the network can be switched to while it runs, and how its norms follow; None
            for a network whose norms are estimated anew for each allocation.

    Attributes:
        layers: Layer name to what took its place, in execution order.
        norms: Layer name to the batch-norm behind it, or its copies.

    Raises:
        UnsupportedModel: a plan, and nothing whose norms can follow it.
    """

    def __init__(
        self,
        model: nn.Module,
        found: Found,
        options: Options,
        make_layer: Callable[[str, Any], Layer],
        *,
        device: str = "cpu",
        plan: NormPlan | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.options, self.plan = found.spec, options, plan
        self.network = copied(expose_layers(model)).eval().requires_grad_(False).to(device)
        self.channels_last = found.channels_last
        if self.channels_last:
            self.network = channels_last(self.network)
        self.layers: dict[str, Layer] = {}
        for name in found.spec.names:
            layer = make_layer(name, self.network.get_submodule(name)).to(device)
            aliases, readers = (each.get(name, ()) for each in (found.aliases, found.readers))
            put(self.network, layer, name, aliases, readers)
            self.layers[name] = layer
        if plan is not None:
            self.norms: dict[str, Any] = install_norms(self.network, found, plan)
        else:
            self.norms = {
                name: self.network.get_submodule(path).requires_grad_(True)
                for name, path in found.norms.items()
            }

    def forward(self, *inputs: Any, **named: Tensor) -> Any:
        """What the network returns for its inputs: class scores (n, classes) for most images.

        Called as the network itself is, or with names to tensors in one mapping.

        Raises:
            UnsupportedModel: the forward pass of the user's own network failed.
        """
        x: Tree = inputs[0] if len(inputs) == 1 else named
        if not self.channels_last and isinstance(x, Tensor):
            x = x.contiguous()
        with explicit_attention():
            if len(inputs) > 1:
                return self.network(*inputs, **named)
            return run(self.network, x, self.spec.name)

    @property
    def _active(self) -> list[Any]:
        """The batch-norms in use."""
        return [getattr(norm, "active", norm) for norm in self.norms.values()]

    def set_training(self, training: bool) -> None:
        """Let the norms use batch statistics (and follow them), or their running statistics."""
        self.network.eval()
        for norm in self.norms.values():
            norm.train(training)

    @contextmanager
    def batch_statistics(self) -> Iterator[nn.Module]:
        """Inside, norms use the statistics of the batch at hand and remember nothing."""
        self.set_training(True)
        for norm in self._active:
            norm.track_running_stats = False
        try:
            yield self
        finally:
            for norm in self._active:
                norm.track_running_stats = True
            self.set_training(False)

    @torch.no_grad()
    def start_scales(self, batches: Iterable[Tensor]) -> None:
        """Begin every scale that was never trained, from the current weights and inputs.

        Args:
            batches: Normalised images; the inputs are those at the current bits.
        """
        histograms = {name: Histogram() for name in self.layers}
        handles = [
            layer.register_forward_pre_hook(
                lambda module, inputs: histograms[module.name].add(inputs[0])
            )
            for layer in self.layers.values()
        ]
        self.set_training(False)
        try:
            for x in batches:
                self(x)
        finally:
            for handle in handles:
                handle.remove()
        for name, layer in self.layers.items():
            layer.start_scales(self.options[name], histograms[name])

    @torch.no_grad()
    def after_step(self) -> None:
        """Put what was trained back where it is allowed: scales stay positive."""
        for layer in self.layers.values():
            layer.after_step()


class TrainableModel(QatModel[TrainableLayer]):
    """A float model, wrapped for training with quantized weights and inputs at given bits.

    Args:
        model: The float model; it is copied, never changed.
        found: Its layers, from `find_layers`.
        options: The bits each layer may have; a scale is kept for each of them.
        quantizer: Key of LEARNED_QUANTIZERS.
        one_clip: None for a scale per bit-width. Otherwise each tensor has one scale for all its
            widths, begun at its allowed width nearest to this; only for quantizers with clips.
        device: Where it runs.
        plan: What the network can be switched to while it runs, and how its norms follow; None
            for a network whose norms are estimated anew for each allocation.

    Attributes:
        allocation: The bits in use.

    Raises:
        InvalidParams: one_clip with a quantizer whose scales are steps, or are shared anyway.
        UnsupportedModel: a plan, and nothing whose norms can follow it.
    """

    def __init__(
        self,
        model: nn.Module,
        found: Found,
        options: Options,
        *,
        quantizer: str = "clip",
        one_clip: int | None = None,
        device: str = "cpu",
        plan: NormPlan | None = None,
    ) -> None:
        if one_clip is not None and quantizer == "lsq":
            raise InvalidParams(
                "LSQ learns steps, and one step cannot serve several bit-widths; use the learned "
                "clip, or keep bit-dependent scales."
            )
        learned = LEARNED_QUANTIZERS[quantizer]
        if one_clip is not None and learned.nests:
            raise InvalidParams(
                f"{learned.title} have one clip for all widths by themselves; use the learned clip "
                "to see what that costs, or keep bit-dependent scales."
            )

        def make_layer(name: str, module: Any) -> TrainableLayer:
            return TrainableLayer(name, module, learned, one_clip)

        super().__init__(model, found, options, make_layer, device=device, plan=plan)
        self.allocation = BitAllocation.uniform(found.spec.layers, FLOAT_BITS)

    def set_allocation(self, allocation: BitAllocation) -> None:
        """Switch every layer, and the norms that follow the bits; nothing is measured anew.

        Raises:
            InvalidAllocation: the allocation does not name exactly this model's layers, or has
                bits that a switchable network was not trained for (lists the trained ones).
            NotCalibrated: bits without a scale; call `start_scales` first.
        """
        allocation.check_names(self.spec.layers)
        switch = "" if self.plan is None else self.plan.find(allocation)
        for name, bits in allocation.items():
            self.layers[name].set_bits(bits)
        if self.plan is not None and self.plan.kind != "shared":
            for norm in self.norms.values():
                norm.follow(switch, allocation)
        self.allocation = allocation

    def set_switch(self, name: str) -> None:
        """Switch the whole network to one of its trained precisions, such as "4/8".

        Raises:
            InvalidAllocation: no such switch; lists the trained ones.
        """
        if self.plan is None:
            raise InvalidAllocation(
                f"{self.spec.name} was trained for one allocation at a time and has no switches."
            )
        self.set_allocation(self.plan.switch(name))

    def set_float_weights(self, on: bool) -> None:
        """Leave all weights in float, whatever their bits, or no longer."""
        for layer in self.layers.values():
            layer.float_weights = on

    def spread_norms(self) -> None:
        """Begin norms of pairs of bits never trained as their diagonal ones."""
        for norm in self.norms.values():
            if isinstance(norm, TransitionalNorm):
                norm.spread()

    @torch.no_grad()
    def estimate_norms(self, batches: Sequence[Tree], visits: Iterable[BitAllocation] = ()) -> None:
        """Estimate the norms' statistics anew, as the mean over batches.

        Args:
            batches: Normalised images.
            visits: Allocations of a switchable network, each for the next batch in turn; copies
                that none of them uses stay as they are, and the last of them stays set. Empty is
                all batches at the current bits.
        """
        chosen = list(visits)
        momenta: dict[Any, float | None] = {}
        self.set_training(True)
        try:
            for index in range(len(chosen) or len(batches)):
                if chosen:
                    self.set_allocation(chosen[index])
                for norm in self._active:
                    if norm not in momenta:
                        momenta[norm] = norm.momentum
                        norm.reset_running_stats()
                        norm.momentum = None  # cumulative average
                self(batches[index % len(batches)])
        finally:
            for norm, momentum in momenta.items():
                norm.momentum = momentum
            self.set_training(False)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is trained: "weights" (decayed), "plain" (biases and norms), "scales"."""
        groups: dict[str, list[nn.Parameter]] = {"weights": [], "plain": [], "scales": []}
        for layer in self.layers.values():
            groups["weights"].append(layer.weight)
            if layer.bias is not None:
                groups["plain"].append(layer.bias)
            if layer.quantizer.learns:
                groups["scales"].extend(layer.scales.values())
        for norm in self.norms.values():
            groups["plain"].extend(norm.parameters())
        return groups

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, scales of other bits included."""
        for key, value in state.items():
            if key.endswith("._extra_state"):
                layer: Any = self.get_submodule(key.removesuffix("._extra_state"))
                layer.make_scales(value["scales"])
        self.load_state_dict(state)

    @torch.no_grad()
    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """What `QuantizedModel.load_state` needs to compute these logits, norms folded.

        Returns:
            Layer name to arrays: weight_codes (weights,), whole numbers, or weight (weights,) at
            32 bits; weight_step (channels,), absent at 32 bits; weight_gain (channels,), the norm
            behind the layer; bias (channels,), absent in an embedding; activation_grid (step, low,
            high, offset).
        """
        state = {}
        for name, layer in self.layers.items():
            arrays = layer.arrays()
            channels = len(to_rows(layer.weight, layer.operation))
            zero = torch.zeros(channels, device=layer.weight.device)
            bias = zero if layer.bias is None else layer.bias
            norm = self.norms.get(name)
            norm = getattr(norm, "active", norm)
            if norm is not None:
                gain = torch.rsqrt(norm.running_var + norm.eps)
                if norm.affine:
                    gain = gain * norm.weight
                bias = (bias - norm.running_mean) * gain
                if norm.affine:
                    bias = bias + norm.bias
                arrays["weight_gain"] = gain.cpu().numpy().astype(np.float32)
            if not layer.operation.looks_up:
                arrays["bias"] = bias.cpu().numpy().astype(np.float32)
            state[name] = arrays
        return state
