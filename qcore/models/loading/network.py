"""A network from what a card says: its structure, its weights, and whether bitdial can use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qcore.data.samples import example_inputs
from qcore.errors import (
    DataUnavailable,
    InvalidConfig,
    InvalidParams,
)
from qcore.models.cards import Card, card_folder, file_sha256
from qcore.models.inputs import Input
from qcore.models.loading.architectures import build_architecture
from qcore.models.loading.code import call_factory, exported_shape, load_pt2
from qcore.models.loading.onnx.file import read_onnx
from qcore.models.loading.trial import try_network
from qcore.models.loading.weights import fill, in_order, other_sizes, read_weights, without_prefix
from qcore.network.trees import Tree
from qcore.scoring.judges import CLASSES, Judge

WHOLE = ("onnx", "pt2")
"""Sources whose file holds the structure together with the weights."""


@dataclass(frozen=True)
class Loaded:
    """A network that was read and can be used.

    Attributes:
        network: In eval mode, float32.
        input_shape: (channels, height, width) of one input.
        classes: Number of outputs.
        architecture: What the card should say: the converter for ONNX, else as asked for.
        notes: Sentences on what the reader should know.
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared: as asked for, or as they suggest.
    """

    network: nn.Module
    input_shape: tuple[int, ...]
    classes: int
    architecture: str
    notes: tuple[str, ...] = field(default_factory=tuple)
    inputs: tuple[Input, ...] = ()
    judge: Judge = CLASSES

    @property
    def example(self) -> Tree:
        """One made-up sample of what it takes."""
        if self.inputs:
            return example_inputs(self.inputs, 1)
        return torch.zeros(1, *self.input_shape)


def load_network(
    source: str,
    architecture: str,
    weights: Path | None,
    input_shape: tuple[int, ...] | None,
    classes: int | None,
    kwargs: Mapping[str, Any],
    by_order: bool = False,
    inputs: tuple[Input, ...] = (),
    judge: Judge | None = None,
) -> Loaded:
    """Read a network for the first time, and check that it can be used.

    Args:
        source: One of `cards.SOURCES`.
        architecture: Its name; "" for ONNX and `.pt2` files.
        weights: A weight file, or the ONNX or `.pt2` file; None leaves weights drawn by chance.
        input_shape: (channels, height, width); None is what the file or the library says.
        classes: Number of outputs; None is read from the weights' shapes.
        kwargs: Further arguments of the architecture.
        by_order: Match tensors by order and shape instead of by name.
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared; None is told from them.

    Raises:
        QcoreError: it cannot be read, built, filled or run; says why and what to do.
    """
    notes: list[str] = []
    endings: Mapping[str, str] = {}
    if source == "onnx":
        read = read_onnx(_needed(weights, "an ONNX"), input_shape, "", inputs, kwargs)
        network, input_shape, architecture = read.network, read.input_shape, read.converter
        inputs, endings = read.inputs, read.endings
        notes.append(
            f"Converted by {read.converter}; its outputs differ from onnxruntime's by at most "
            f"{100 * read.difference:.2g} % of the largest."
        )
        notes += read.notes
    elif source == "pt2":
        network = load_pt2(_needed(weights, "a .pt2"))
        input_shape = input_shape or exported_shape(network) or (3, 224, 224)
    elif source == "factory":
        network = call_factory(architecture, kwargs)
        input_shape = input_shape or (3, 224, 224)
        if weights is not None:
            _fill(network, read_weights(weights), architecture, str(weights.name), by_order)
    else:
        channels = input_shape[0] if input_shape else (1 if source == "bundled" else 3)
        network = _built(source, architecture, weights, classes, channels, kwargs, by_order)
        input_shape = input_shape or _usual_shape(source, architecture, network)
    if weights is None:
        notes.append("No weights were given: they are drawn by chance, and it has learned nothing.")
    network = network.float()  # as `load_card` gives it
    name = architecture or source
    if inputs:
        input_shape = inputs[0].shape
    judge, found, told = try_network(network, input_shape, inputs, judge, name, endings)
    notes += told
    if classes is not None and classes != found:
        raise InvalidParams(f"The network has {found} outputs, not {classes}.")
    notes += _warnings(network)
    return Loaded(network, input_shape, found, architecture, tuple(notes), inputs, judge)


def _needed(weights: Path | None, what: str) -> Path:
    if weights is None:
        raise InvalidParams(f"Give {what} file.")
    return weights


def _usual_shape(source: str, architecture: str, network: nn.Module) -> tuple[int, ...]:
    if source == "bundled":
        return 1, 28, 28
    if source == "torchvision":
        from qcore.models.catalog import MODELS

        return MODELS[architecture].input_shape
    settings = getattr(network, "pretrained_cfg", None)
    sizes = tuple(getattr(settings, "get", lambda *_: None)("input_size", None) or (3, 224, 224))
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def _built(
    source: str,
    architecture: str,
    weights: Path | None,
    classes: int | None,
    channels: int,
    kwargs: Mapping[str, Any],
    by_order: bool,
) -> nn.Module:
    network = build_architecture(source, architecture, classes, channels, kwargs)
    if weights is None:
        return network
    state = read_weights(weights)
    if classes is None and not by_order:
        outputs = _outputs(network)
        own = network.state_dict()
        named = without_prefix(own, state)
        sizes = other_sizes(own, named, outputs, channels) if outputs else {}
        if "classes" in sizes and 1 < sizes["classes"] <= 1_000_000:
            classes = sizes["classes"]
            network = build_architecture(source, architecture, classes, channels, kwargs)
    _fill(network, state, architecture, weights.name, by_order)
    return network


def _outputs(network: nn.Module) -> int:
    """Outputs of the last module that has weights: the classifier, in all these libraries."""
    last = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1:]
    return int(last[0].weight.shape[0]) if last else 0


def _fill(
    network: nn.Module, state: Mapping[str, Tensor], name: str, source: str, by_order: bool
) -> None:
    if by_order:
        state = in_order(network, state, source)
    fill(network, state, name, source)


def _warnings(network: nn.Module) -> list[str]:
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if any(m.running_mean is None for m in norms):
        return [
            "Some batch-norms keep no running statistics: an image's scores then depend on the "
            "others of its batch."
        ]
    return []


def build_card(card: Card, file: Path | None = None) -> nn.Module:
    """The network of a card; where its file holds the structure its weights come with it.

    Args:
        card: What the network is.
        file: Its ONNX or `.pt2` file; None is the one in the card's folder.
    """
    if card.source == "onnx":
        path = file or card_file(card)
        shape = None if card.inputs else card.input_shape
        return read_onnx(path, shape, card.architecture, card.inputs, card.kwargs).network
    if card.source == "pt2":
        return load_pt2(file or card_file(card))
    if card.source == "factory":
        return call_factory(card.architecture, card.kwargs)
    return build_architecture(
        card.source, card.architecture, card.classes, card.input_shape[0], card.kwargs
    )


def card_file(card: Card) -> Path:
    """The file of a card's weights, after a look at whether it is still the same.

    Raises:
        DataUnavailable: it is gone.
        InvalidConfig: it has changed since the network was added.
    """
    path = card_folder(card.name) / card.weights
    if not path.is_file():
        raise DataUnavailable(
            f"{path}, the weights of {card.name}, is gone; add the network again."
        )
    if file_sha256(path) != card.sha256:
        raise InvalidConfig(
            f"{path} has changed since {card.name} was added: what was measured would not hold. "
            "Add the network again."
        )
    return path


def load_card(card: Card) -> nn.Module:
    """The network of a card with its weights, float32, in eval mode.

    Raises:
        QcoreError: a file, a package or the operator's leave is missing, or the file has changed.
    """
    network = build_card(card)
    if card.weights and card.source not in WHOLE:
        path = card_file(card)
        _fill(network, read_weights(path), card.architecture, str(path), card.by_order)
    return network.float().eval()
