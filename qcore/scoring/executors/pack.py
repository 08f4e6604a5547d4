"""Packs a network with its images so that another process scores exactly like this one.

What travels: the network's name and weights, the calibration and search images as they lie in
memory, and the settings. What is measured from them (layers, ranges, corrections) is measured
again there, which gives the same numbers because none of it is drawn by chance. Test images stay:
only the process that runs the search looks at them.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from qcore.allocation import LayerBits, ModelSpec
from qcore.cache import NO_CACHE, Cache
from qcore.cache.network import found_layers
from qcore.data import Data, Images, Split
from qcore.data.samples import Samples
from qcore.inputs import Input
from qcore.judges import CLASSES, Judge, read_judge
from qcore.models.cards import Card
from qcore.models.catalog import MODELS, read_models
from qcore.models.hugging_folder import kept_files
from qcore.models.loading import build_card
from qcore.models.loading.network import WHOLE, card_file
from qcore.models.zoo import build_model
from qcore.process.memory import keep_freed_memory
from qcore.ptq.model import QuantizedModel
from qcore.ptq.rounding_names import NEAREST
from qcore.ptq.settings import SEQUENTIAL, TuningParams
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.setup import Setup
from qcore.qat.trainer import Trainer
from qcore.quantizer_names import USUAL
from qcore.rounding.table import Entries
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
    judge: Judge = CLASSES,
    rounding: str = NEAREST,
    known: Entries | None = None,
    correction: str = SEQUENTIAL,
    cache: Cache = NO_CACHE,
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
        judge: How answers are compared.
        rounding: Key of ROUNDINGS.
        known: The codes it made; they travel, so that all score the same ones.
        correction: Key of CORRECTIONS.
        cache: Where a process of this machine finds what was worked out here.

    Raises:
        InvalidParams: the trainer never finished this stage.
    """
    weights = io.BytesIO()
    torch.save({k: v.detach().cpu() for k, v in network.state_dict().items()}, weights)
    arguments = (
        (spec.name, spec.classes, spec.input_shape[0] if spec.input_shape else 1),
        weights.getvalue(),
        pack_split(data.calibration),
        pack_split(data.search),
        device,
        batch_size,
        asdict(tuning),
        None if trainer is None else _pack_stage(stage, trainer),
        _pack_card(spec.name),
        quantizer,
        None if judge == CLASSES else judge.to_json(),
        rounding,
        [[name, bits, *found] for (name, bits), found in sorted((known or {}).items())],
        correction,
        None if cache.folder is None else [str(cache.folder), cache.most_bytes, *cache.depends],
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
    judge: dict[str, Any] | None = None,
    rounding: str = NEAREST,
    known: Sequence[Sequence[Any]] = (),
    correction: str = SEQUENTIAL,
    cached: Sequence[Any] | None = None,
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
        judge: How answers are compared, plain data; None for classes.
        rounding: Key of ROUNDINGS.
        known: The codes it made: layer, bits, codes, steps.
        correction: Key of CORRECTIONS.
        cached: Folder and size of the cache, and what all of it depends on; None for none.
    """
    keep_freed_memory()
    name, classes, channels = sizes
    if own is not None:
        network = _unpack_card(own)
    else:
        bundled = MODELS[name].source == "bundled"
        network = build_model(name, classes=classes, in_channels=channels if bundled else None)
    network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    split = unpack_split(search)
    # one sample stands for the test split, which stays with the search; no report is made here
    one = replace(split.at(torch.arange(1)), labels=None)
    data = Data(
        name="packed",
        classes=None if split.labels is None else classes,
        class_names=(),
        mean=(),
        std=(),
        input_shape=tuple(split.arrays()[0].shape[1:]),
        calibration=unpack_split(calibration),
        search=split,
        test=one,
        digest="",
        inputs=split.inputs if isinstance(split, Samples) else (),
    )
    example = next(data.calibration.batches(1, "cpu"))[0]
    cache = NO_CACHE
    # another machine has no such folder, or one of its own
    if cached is not None and Path(cached[0]).is_dir():
        cache = Cache(Path(cached[0]), cached[1])
    found, of_network = found_layers(network, example, name, data.inputs, cache)
    cache = NO_CACHE if of_network.folder is None else cache.about(*(cached or ())[2:])
    model = QuantizedModel(network, found, quantizer=quantizer, device=device)
    judged = read_judge(judge)
    entries = {(layer, bits): (codes, steps) for layer, bits, codes, steps in known}
    tuned = TuningParams(**tuning)
    evaluator = Evaluator(
        model, data, device, tuned, batch_size, judged, rounding, entries, correction, cache=cache
    )
    if trained is not None:
        options = {n: tuple(LayerBits(*b) for b in all_) for n, all_ in trained["options"].items()}
        images = [x for x, _ in evaluator.calibration]
        kept = MemoryCheckpoints()
        setup = Setup(network, found, options, None, images, kept, device=device, judge=judged)
        evaluator.trainer = Trainer(setup)
        evaluator.trainer.restore(trained["stage"], trained["state"])
    return evaluator


def _pack_card(name: str) -> dict[str, Any] | None:
    models = read_models()
    card = models[name].card if name in models else None
    if card is None:
        return None
    document = json.dumps(card.to_json(), sort_keys=True)
    packed = {"card": document, "file": b"", "suffix": Path(card.weights).suffix}
    if card.source not in WHOLE:
        return packed
    place = card_file(card)
    if place.is_dir():
        return packed | {"files": {n: (place / n).read_bytes() for n in kept_files(place)}}
    return packed | {"file": place.read_bytes()}


def _unpack_card(own: dict[str, Any]) -> nn.Module:
    card = Card.from_json(json.loads(own["card"]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"network{own['suffix']}"
        for name, content in own.get("files", {}).items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        if not path.exists():
            path.write_bytes(own["file"])
        return build_card(card, path).float().eval()


def _pack_stage(stage: str, trainer: Trainer) -> dict[str, Any]:
    options = {n: [[b.weight, b.activation] for b in all_] for n, all_ in trainer.options.items()}
    return {"stage": stage, "state": trainer.saved(stage), "options": options}


def pack_split(split: Split) -> dict[str, Any]:
    """Samples as numpy arrays and plain data, in the types they have in memory."""
    labels = None if split.labels is None else split.labels.numpy()
    if isinstance(split, Images):
        return {
            "pixels": split.pixels.numpy(), "labels": labels, "mean": split.mean, "std": split.std
        }  # fmt: skip
    columns = {name: values.numpy() for name, values in split.columns.items()}
    inputs = [each.to_json() for each in split.inputs]
    return {"columns": columns, "labels": labels, "inputs": inputs}


def unpack_split(packed: dict[str, Any]) -> Split:
    """Read what `pack_split` wrote."""
    # copied where it arrived read-only, which torch would warn of
    labels = None if packed["labels"] is None else torch.from_numpy(packed["labels"].copy())
    if "columns" in packed:
        columns = {name: torch.from_numpy(v.copy()) for name, v in packed["columns"].items()}
        inputs = tuple(Input.from_json(each) for each in packed["inputs"])
        return Samples(columns, inputs, labels)
    pixels = torch.from_numpy(packed["pixels"].copy())
    return Images(pixels, labels, tuple(packed["mean"]), tuple(packed["std"]))
