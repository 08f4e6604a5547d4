"""Runs a network again from one layer on, taking all before it from a recorded pass.

When one layer changes, whatever ran before it did not. `PrefixReplay` records the outputs of every
module that holds a layer; in a replay each largest module lying wholly before the changed layer
returns its recorded output without running. It needs no graph and is right for any network in which
those modules run once per pass; modules that run several times are simply run.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qcore.ptq.model import QuantizedModel
from qcore.trees import Tree


class PrefixReplay:
    """Recorded outputs of one batch of the float network.

    Args:
        model: Switched to float by the caller; its float pass is recorded here.
        batch: The network's inputs, as normalised images (n, channels, h, w).

    Attributes:
        outputs: Layer name to its recorded float outputs, one a call; those of ids are left out.
        answers: What the float network returned.
    """

    def __init__(self, model: QuantizedModel, batch: Tree) -> None:
        self._model, self._batch = model, batch
        self._modules = modules_by_last_layer(model)
        self._recorded: dict[str, Tensor] = {}
        self._calls: dict[str, int] = {}
        versions = self._record(set())
        # an in-place operation may have changed a recorded output: such outputs are copied
        spoilt = {n for n, seen in versions.items() if any(y._version != v for y, v in seen)}
        self._spoilt = spoilt
        if spoilt:
            self._record(spoilt)

    @torch.no_grad()
    def _record(self, copied: set[str]) -> dict[str, list[tuple[Tensor, int]]]:
        self._calls = dict.fromkeys(self._modules, 0)
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in self._model.layers}
        versions: dict[str, list[tuple[Tensor, int]]] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                self._calls[name] += 1
                if isinstance(output, Tensor):
                    kept = output.clone() if name in copied else output
                    self._recorded[name] = kept
                    versions.setdefault(name, []).append((kept, kept._version))
                    # what is looked up is corrected nowhere
                    if name in self.outputs and inputs[0].is_floating_point():
                        self.outputs[name].append(kept)

            return hook

        handles = [
            self._model.network.get_submodule(name).register_forward_hook(keep(name))
            for name in self._modules
        ]
        try:
            self.answers = self._model(self._batch)
        finally:
            for handle in handles:
                handle.remove()
        return versions

    @torch.no_grad()
    def run_from(self, changed: str) -> Any:
        """What the model as it is now returns, running `changed` and what follows.

        Only the layer `changed`, and layers after it, may differ from the recorded float pass.
        """
        index = list(self._model.layers).index(changed)
        skipped = []
        for name in self._largest_before(index):
            module: Any = self._model.network.get_submodule(name)
            output = self._recorded[name]
            copy = name in self._spoilt
            module.forward = lambda *a, output=output, copy=copy, **k: (
                output.clone() if copy else output
            )
            skipped.append(module)
        try:
            return self._model(self._batch)
        finally:
            for module in skipped:
                del module.forward

    def _largest_before(self, index: int) -> list[str]:
        before = [
            name
            for name, (last, count) in self._modules.items()
            if last < index and self._calls[name] == 1 and name in self._recorded and count
        ]
        chosen = set(before)
        return [n for n in before if not any(n.startswith(f"{m}.") for m in chosen if m != n)]


def modules_by_last_layer(model: QuantizedModel) -> dict[str, tuple[int, int]]:
    """Every module below the root that holds a layer: name -> (index of its last layer, layers)."""
    found: dict[str, tuple[int, int]] = {}
    for index, name in enumerate(model.layers):
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            parent = ".".join(parts[:depth])
            _, count = found.get(parent, (index, 0))
            found[parent] = (index, count + 1)
    return found
