"""A network from what a card says: its structure, its weights, and whether bitdial can use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qcore.errors import (
    DataUnavailable,
    InvalidConfig,
    InvalidParams,
)
from qcore.example_inputs import example_inputs
from qcore.inputs import Input
from qcore.judges import CLASSES, Judge
from qcore.models.architectures import ARCHITECTURES
from qcore.models.cards import Card, card_folder, file_sha256
from qcore.models.hugging_folder import folder_sha256
from qcore.models.loading.architectures import build_architecture
from qcore.models.loading.checks import check_behaviour
from qcore.models.loading.code import call_factory, exported_shape, load_pt2, read_pt2
from qcore.models.loading.hugging import hugging_network, read_hugging
from qcore.models.loading.names import named_for, shared_names, without_counters
from qcore.models.loading.onnx.file import read_onnx
from qcore.models.loading.trial import try_network
from qcore.models.loading.weight_sets import Chosen, choose, proposed
from qcore.models.loading.weights import fill, in_order, other_sizes, read_sets
from qcore.models.preprocessing import Preprocessing
from qcore.trees import Tree

WHOLE = ("onnx", "pt2", "huggingface")
"""Sources whose file, or folder, holds the structure together with the weights."""

TRIED = 2
"""Random images that a network is tried on."""


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
        weights_key: Where in its file the weights that were taken lie; "" is the whole file.
        preprocessing: How images are prepared, where the network came with a word on it.
    """

    network: nn.Module
    input_shape: tuple[int, ...]
    classes: int
    architecture: str
    notes: tuple[str, ...] = field(default_factory=tuple)
    inputs: tuple[Input, ...] = ()
    judge: Judge = CLASSES
    weights_key: str = ""
    preprocessing: Preprocessing | None = None

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
    weights_key: str = "",
    length: int | None = None,
) -> Loaded:
    """Read a network for the first time, and check that it can be used.

    Args:
        source: One of `cards.SOURCES`.
        architecture: Its name; "" for ONNX and `.pt2` files.
        weights: A weight file, the ONNX or `.pt2` file, or the Hugging Face folder; None leaves
            weights drawn by chance.
        input_shape: (channels, height, width); None is what the file or the library says.
        classes: Number of outputs; None is read from the weights' shapes.
        kwargs: Further arguments of the architecture.
        by_order: Match tensors by order and shape instead of by name.
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared; None is told from them.
        weights_key: Which of several sets of weights in the file; "" takes the proposed one.
        length: Positions of a text, or samples of a sound, for Hugging Face folders; None takes
            what is usual.

    Raises:
        QcoreError: it cannot be read, built, filled or run; says why and what to do.
    """
    notes: list[str] = []
    taken, steps = "", None
    known = ARCHITECTURES.get(architecture) if source == "bundled" else None
    if known is not None and known.inputs and input_shape is None:
        judge = judge or known.judge
        inputs = inputs or known.inputs
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
        network, difference = read_pt2(_needed(weights, "a .pt2"))
        notes.append(
            "Its operations were turned into layers; the outputs differ from the program's by at "
            f"most {100 * difference:.2g} % of the largest."
        )
        input_shape = input_shape or exported_shape(network) or (3, 224, 224)
    elif source == "huggingface":
        folder = _needed(weights, "a Hugging Face folder or")
        opened = read_hugging(folder, length, inputs, judge, input_shape)
        network, architecture, inputs = opened.network, opened.architecture, opened.inputs
        input_shape, judge, steps = opened.input_shape, opened.judge, opened.preprocessing
        notes += opened.notes
    elif source == "factory":
        network = call_factory(architecture, kwargs)
        input_shape = input_shape or (3, 224, 224)
        if weights is not None:
            chosen = _chosen(network, weights, weights_key, by_order)
            filled = _fill(network, chosen.state, architecture, weights.name, by_order)
            taken, notes = chosen.key, [*chosen.notes, *filled]
    else:
        shape = inputs[0].shape if known is not None and inputs else input_shape
        channels = shape[0] if shape else (known.input_shape[0] if known is not None else 3)
        network = build_architecture(source, architecture, classes, channels, kwargs)
        if weights is not None:
            chosen = _chosen(network, weights, weights_key, by_order)
            network = _sized(
                network, chosen.state, source, architecture, classes, channels, kwargs, by_order
            )
            filled = _fill(network, chosen.state, architecture, weights.name, by_order)
            taken, notes = chosen.key, [*chosen.notes, *filled]
        input_shape = input_shape or _usual_shape(source, architecture, network)
    if weights is None:
        notes.append(
            "No weights were given: those that its own code made are taken."
            if source == "factory"
            else "No weights were given: they are drawn by chance, and it has learned nothing."
        )
    network = network.float()  # as `load_card` gives it
    name = architecture or source
    if inputs:
        input_shape = inputs[0].shape
    judge, found, told = try_network(network, input_shape, inputs, judge, name, endings)
    notes += told
    tried = example_inputs(inputs, TRIED) if inputs else _noise(TRIED, input_shape)
    notes += check_behaviour(network, tried, name)
    if classes is not None and classes != found:
        raise InvalidParams(f"The network has {found} outputs, not {classes}.")
    notes = list(dict.fromkeys(notes))
    return Loaded(
        network, input_shape, found, architecture, tuple(notes), inputs, judge, taken, steps
    )


def _noise(n: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def _needed(weights: Path | None, what: str) -> Path:
    if weights is None:
        raise InvalidParams(f"Give {what} file.")
    return weights


def _usual_shape(source: str, architecture: str, network: nn.Module) -> tuple[int, ...]:
    if source == "bundled":
        return ARCHITECTURES[architecture].input_shape
    if source == "torchvision":
        from qcore.models.catalog import MODELS

        return MODELS[architecture].input_shape
    settings = getattr(network, "pretrained_cfg", None)
    sizes = tuple(getattr(settings, "get", lambda *_: None)("input_size", None) or (3, 224, 224))
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def _chosen(network: nn.Module, weights: Path, key: str, by_order: bool) -> Chosen:
    """The set of weights in a file that is meant for a network."""
    sets = read_sets(weights)
    groups = shared_names(network)

    def fits(state: Mapping[str, Tensor]) -> bool:
        if by_order:
            return len(without_counters(state)) == sum(map(len, groups))
        try:
            found = set(named_for(network, state, weights.name).state)
        except InvalidConfig:
            return False
        return all(not found.isdisjoint(group) for group in groups)

    several = len(sets) > 1 and not key
    return choose(sets, key, [k for k, s in sets.items() if not several or fits(s)], weights.name)


def _sized(
    network: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    architecture: str,
    classes: int | None,
    channels: int,
    kwargs: Mapping[str, Any],
    by_order: bool,
) -> nn.Module:
    """The network with as many outputs as the weights have, where nobody said how many."""
    if classes is not None or by_order:
        return network
    outputs, own = _outputs(network), network.state_dict()
    named = named_for(network, state, architecture).state
    sizes = other_sizes(own, named, outputs, channels) if outputs else {}
    if not 1 < sizes.get("classes", 0) <= 1_000_000:
        return network
    return build_architecture(source, architecture, sizes["classes"], channels, kwargs)


def _outputs(network: nn.Module) -> int:
    """Outputs of the last module that has weights: the classifier, in all these libraries."""
    last = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1:]
    return int(last[0].weight.shape[0]) if last else 0


def _fill(
    network: nn.Module, state: Mapping[str, Tensor], name: str, source: str, by_order: bool
) -> tuple[str, ...]:
    if by_order:
        state = in_order(network, state, source)
    return fill(network, state, name, source)


def build_card(card: Card, file: Path | None = None) -> nn.Module:
    """The network of a card; where its file holds the structure its weights come with it.

    Args:
        card: What the network is.
        file: Its ONNX or `.pt2` file or its Hugging Face folder; None is that in the card's folder.
    """
    if card.source == "onnx":
        path = file or card_file(card)
        shape = None if card.inputs else card.input_shape
        return read_onnx(path, shape, card.architecture, card.inputs, card.kwargs).network
    if card.source == "pt2":
        return load_pt2(file or card_file(card))
    if card.source == "huggingface":
        return hugging_network(file or card_file(card), card.judge)[0]
    if card.source == "factory":
        return call_factory(card.architecture, card.kwargs)
    return build_architecture(
        card.source, card.architecture, card.classes, card.input_shape[0], card.kwargs
    )


def card_file(card: Card) -> Path:
    """The file, or folder, of a card's weights, after a look at whether it is still the same.

    Raises:
        DataUnavailable: it is gone.
        InvalidConfig: it has changed since the network was added.
    """
    path = card_folder(card.name) / card.weights
    folder = card.source == "huggingface"
    if not (path.is_dir() if folder else path.is_file()):
        raise DataUnavailable(
            f"{path}, the weights of {card.name}, is gone; add the network again."
        )
    if (folder_sha256(path) if folder else file_sha256(path)) != card.sha256:
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
        sets = read_sets(path)
        # a card from before keys were kept had the raw weights
        key = card.weights_key or proposed(sets, averaged_first=False)[0]
        state = choose(sets, key, [key], str(path)).state
        _fill(network, state, card.architecture, str(path), card.by_order)
    return network.float().eval()
