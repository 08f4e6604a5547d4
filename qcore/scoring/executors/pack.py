"""Packs a network with its images so that another process scores exactly like this one.

What travels: the network's name and weights, the calibration and search images as they lie in
memory, and the settings. What is measured from them (layers, ranges, corrections) is measured
again there, which gives the same numbers because none of it is drawn by chance. Test images stay:
only the process that runs the search looks at them.
"""

import io
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from qcore.allocation import LayerBits, ModelSpec
from qcore.data import Data, Images
from qcore.memory import keep_freed_memory
from qcore.models.cards import Card
from qcore.models.catalog import MODELS, read_models
from qcore.models.loading import build_card
from qcore.models.loading.network import WHOLE, card_file
from qcore.models.zoo import build_model
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import TuningParams
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.setup import Setup
from qcore.qat.trainer import Trainer
from qcore.quantizer_names import USUAL
from qcore.scoring.evaluator import Evaluator
from qcore.scoring.executors.recipe import Recipe, make_recipe


def pack_evaluator(
    stage: str,
    network: nn.Module,
    spec: ModelSpec,
    data: Data,
    device: str,
    batch_size: int,
    tuning: TuningParams,
    trainer: Trainer | None = None,
    quantizer: str = USUAL,
) -> Recipe:
    """A recipe that rebuilds an `Evaluator`.

    Args:
        stage: The weights stage it is for.
        network: The float network, built by `qcore.models.zoo`, with the weights of that stage.
        spec: Its facts.
        data: Where its calibration and search images are taken from.
        device: Where it computes.
        batch_size: Images per batch.
        tuning: Settings of the label-free tuning.
        trainer: Where a training stage's weights come from; None for the stages without.
        quantizer: Key of POST_TRAINING.

    Raises:
        InvalidParams: the trainer never finished this stage.
    """
    weights = io.BytesIO()
    torch.save({k: v.detach().cpu() for k, v in network.state_dict().items()}, weights)
    arguments = (
        (spec.name, spec.classes, spec.input_shape[0]),
        weights.getvalue(),
        pack_images(data.calibration),
        pack_images(data.search),
        device,
        batch_size,
        asdict(tuning),
        None if trainer is None else _pack_stage(stage, trainer),
        _pack_card(spec.name),
        quantizer,
    )
    return make_recipe(stage, rebuild_evaluator, arguments, device)


def rebuild_evaluator(
    sizes: tuple[str, int, int],
    weights: bytes,
    calibration: dict[str, Any],
    search: dict[str, Any],
    device: str,
    batch_size: int,
    tuning: dict[str, Any],
    trained: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    quantizer: str = USUAL,
) -> Evaluator:
    """Build the evaluator `pack_evaluator` packed.

    Args:
        sizes: Name of the network, its classes and its input channels.
        weights: Its state dict, as torch.save wrote it.
        calibration: Packed calibration images.
        search: Packed images of the search split.
        device: Where to compute.
        batch_size: Images per batch.
        tuning: Fields of TuningParams.
        trained: Name, state and options of a training stage, or None.
        own: Card of a network of the user's, with its file where that holds the structure.
        quantizer: Key of POST_TRAINING.
    """
    keep_freed_memory()
    name, classes, channels = sizes
    if own is not None:
        network = _unpack_card(own)
    else:
        bundled = MODELS[name].source == "bundled"
        network = build_model(name, classes=classes, in_channels=channels if bundled else None)
    network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    split = unpack_images(search)
    # one image stands for the test split, which stays with the search; no report is made here
    one = Images(split.pixels[:1], None, split.mean, split.std)
    data = Data(
        name="packed",
        classes=None if split.labels is None else classes,
        class_names=(),
        mean=split.mean,
        std=split.std,
        input_shape=(channels, int(split.pixels.shape[2]), int(split.pixels.shape[3])),
        calibration=unpack_images(calibration),
        search=split,
        test=one,
        digest="",
    )
    example = next(data.calibration.batches(1, "cpu"))[0]
    found = find_layers(network, example, name)
    model = QuantizedModel(network, found, quantizer=quantizer, device=device)
    evaluator = Evaluator(model, data, device, TuningParams(**tuning), batch_size)
    if trained is not None:
        options = {n: tuple(LayerBits(*b) for b in all_) for n, all_ in trained["options"].items()}
        images = [x for x, _ in evaluator.calibration]
        kept = MemoryCheckpoints()
        setup = Setup(network, found, options, None, images, kept, device=device)
        evaluator.trainer = Trainer(setup)
        evaluator.trainer.restore(trained["stage"], trained["state"])
    return evaluator


def _pack_card(name: str) -> dict[str, Any] | None:
    models = read_models()
    card = models[name].card if name in models else None
    if card is None:
        return None
    file = card_file(card).read_bytes() if card.source in WHOLE else b""
    document = json.dumps(card.to_json(), sort_keys=True)
    return {"card": document, "file": file, "suffix": Path(card.weights).suffix}


def _unpack_card(own: dict[str, Any]) -> nn.Module:
    card = Card.from_json(json.loads(own["card"]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"network{own['suffix']}"
        path.write_bytes(own["file"])
        return build_card(card, path).float().eval()


def _pack_stage(stage: str, trainer: Trainer) -> dict[str, Any]:
    options = {n: [[b.weight, b.activation] for b in all_] for n, all_ in trainer.options.items()}
    return {"stage": stage, "state": trainer.saved(stage), "options": options}


def pack_images(images: Images) -> dict[str, Any]:
    """Images as numpy arrays and plain numbers, pixels in the type they have in memory."""
    return {
        "pixels": images.pixels.numpy(),
        "labels": None if images.labels is None else images.labels.numpy(),
        "mean": images.mean,
        "std": images.std,
    }


def unpack_images(packed: dict[str, Any]) -> Images:
    """Read what `pack_images` wrote."""
    labels = packed["labels"]
    return Images(
        # copied where it arrived read-only, which torch would warn of
        torch.from_numpy(packed["pixels"].copy()),
        None if labels is None else torch.from_numpy(labels.copy()),
        tuple(packed["mean"]),
        tuple(packed["std"]),
    )
