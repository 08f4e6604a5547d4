"""What the wizard for own networks does step by step: load, check, sensitivity. Imports torch.

Each step takes plain data and gives plain data, so that it can run in a process of its own.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from qcore.allocation import ModelSpec
from qcore.cache import NO_CACHE, Cache
from qcore.errors import InvalidParams
from qcore.float_check import far_off
from qcore.judges import Judge
from qcore.judges.signal import Signal
from qcore.models.cards import Card, update_card, write_card
from qcore.models.catalog import MODELS, read_models
from qcore.models.loading import load_network
from qcore.models.loading.onnx.kept import kept_file
from qcore.models.loading.trial import try_network
from qcore.models.new_network import NewNetwork
from qcore.models.preprocessing import Preprocessing
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.prepare import Prepared, prepare
from qcore.problem import Point, SensitivityTable
from qcore.ptq.settings import OFF
from qcore.run_spec import RunSpec
from qcore.scoring.evaluator import choose_device
from qcore.trees import Tree, count, part

Tell = Callable[[str], None]
Opening = Callable[[], AbstractContextManager[None]]
"""Gives what is entered while files of the user's are opened, to bound it."""

TIMED_IMAGES = 32


def add_network(
    new: NewNetwork, tell: Tell = lambda words: None
) -> tuple[Card, ModelSpec, list[str]]:
    """Load a network, find its layers, and keep it under its name.

    Args:
        new: What the user said about it.
        tell: Told in a few words what is being done.

    Returns:
        (its card, its layers, sentences on what to know).

    Raises:
        QcoreError: it cannot be loaded, run or quantized; says why and what to do.
    """
    new.check()
    tell(f"Loading the network{_size_words(new.weights)}")
    loaded = load_network(
        new.source,
        new.architecture,
        None if new.weights is None else Path(new.weights),
        new.input_shape,
        new.classes,
        new.kwargs,
        new.by_order,
        new.inputs,
        new.judge,
        new.weights_key,
        new.length,
    )
    tell("Finding its layers")
    found = find_layers(loaded.network, loaded.example, new.name, loaded.inputs)
    steps = new.preprocessing or loaded.preprocessing or Preprocessing()
    if new.preprocessing is loaded.preprocessing is None and not loaded.inputs:
        steps = usual_preprocessing(
            new.source, loaded.architecture, loaded.network, loaded.input_shape
        )
    card = Card(
        name=new.name,
        title=new.title or new.name,
        source=new.source,
        architecture=loaded.architecture,
        input_shape=loaded.input_shape,
        classes=loaded.classes,
        preprocessing=steps,
        kwargs=dict(new.kwargs),
        by_order=new.by_order,
        weights_key=loaded.weights_key,
        data=tuple(filter(None, (new.data,))),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=loaded.inputs,
        judge=loaded.judge,
        sound=new.sound,
    )
    tell("Keeping it")
    new.check()  # its name may have been taken meanwhile
    with kept_file(new.source, None if new.weights is None else Path(new.weights)) as weights:
        card = write_card(card, weights, found.spec)
    return card, found.spec, list(loaded.notes)


def _size_words(weights: str | None) -> str:
    """How large a file is, for those who watch what opening it takes."""
    path = None if weights is None else Path(weights)
    if path is None or not path.is_file():
        return ""
    return f", {path.stat().st_size / 1e6:,.1f} MB"


def change_judge(name: str, judge: Judge) -> tuple[Judge, list[str]]:
    """Compare the answers of a user's network otherwise from now on; runs keep their judge.

    Args:
        name: Of a network with a card.
        judge: Tried on the network before it is kept.

    Returns:
        (the judge, sentences on what to know).

    Raises:
        QcoreError: it does not fit what the network returns; nothing was changed.
    """
    entry = read_models()[name]
    if entry.card is None:
        raise InvalidParams(f"{name} comes with its judge; only networks you added have others.")
    card = entry.card
    _, _, notes = try_network(load_model(name), card.input_shape, card.inputs, judge, name)
    update_card(replace(card, judge=judge))
    return judge, notes


def usual_preprocessing(
    source: str, architecture: str, network: Any, shape: tuple[int, ...]
) -> Preprocessing:
    """How images are prepared where the user did not say: the library's way, or none."""
    channels, height, width = shape
    way: Literal["bicubic", "bilinear", "nearest"]
    if source in ("bundled", "torchvision") and architecture in MODELS:
        usual = MODELS[architecture].preprocessing
        if usual.input_shape == shape:
            return usual
        if channels == usual.channels:
            way = usual.interpolation
            return Preprocessing(channels, height, width, None, way, usual.mean, usual.std)
    settings = getattr(network, "pretrained_cfg", None)
    get = getattr(settings, "get", None)
    if source == "timm" and get is not None and len(get("mean") or ()) == channels:
        share = float(get("crop_pct") or 1.0)
        way = "bicubic" if get("interpolation") == "bicubic" else "bilinear"
        mean, std = tuple(map(float, get("mean"))), tuple(map(float, get("std")))
        short = min(height, width)
        return Preprocessing(
            channels, height, width, max(short, int(short / share)), way, mean, std
        )
    return Preprocessing(channels, height, width, mean=(0.0,), std=(1.0,))


@dataclass(frozen=True)
class Check:
    """What a float network does on some data.

    Attributes:
        model: The facts about the network.
        point: Its scores on the search and the test split.
        report: The same and more in plain words and numbers, see `check_network_on`.
    """

    model: ModelSpec
    point: Point
    report: Mapping[str, Any]


def check_network_on(
    name: str,
    data: str,
    calibration: int,
    search: int,
    tell: Tell = lambda words: None,
    opening: Opening = nullcontext,
    cache: Cache = NO_CACHE,
) -> Check:
    """Run a network on data: its float accuracy, its time, and what looks wrong.

    The report holds "data", "digest", "splits" (images in each), "classes", "shape", "search" and
    "test" (each "value", "low", "high" in 0..1, "n", "labelled"), "ms" (milliseconds per image,
    float, on this machine), "device" and "notes".

    Raises:
        QcoreError: network or data cannot be loaded, or do not fit; says which and why.
    """
    spec = replace(
        _spec(name, data, (2, 8), (32,), calibration, search),
        correction=OFF,  # nothing is quantized here
    )
    prepared = prepare(spec, on_progress=tell, opening=opening, cache=cache)
    tell("Measuring the float network on the test split")
    prepared.report(prepared.float_point)
    point = prepared.float_point
    tell("Taking its time")
    x = part(prepared.evaluator.search[0][0], slice(TIMED_IMAGES))
    milliseconds = _milliseconds(prepared, x)
    notes = list(prepared.notes)
    test = prepared.float_point.test or point.search
    notes += filter(None, [far_off(test, prepared.model.classes), _peak_note(prepared)])
    report = {
        "model": name,
        "data": data,
        "digest": prepared.data_digest,
        "splits": {
            "calibration": sum(count(x) for x, _ in prepared.evaluator.calibration),
            "search": point.search.n,
            "test": test.n,
        },
        "classes": prepared.model.classes,
        "shape": list(prepared.model.input_shape),
        "search": _scores(point.search),
        "test": _scores(test),
        "ms": milliseconds,
        "device": point.device,
        "judge": prepared.evaluator.judge.to_json(),
        "notes": notes,
    }
    card = read_models()[name].card
    if card is not None and data not in card.data[:1]:
        others = tuple(entry for entry in card.data if entry != data)
        update_card(replace(card, data=(data, *others)[:20]))
    return Check(prepared.model, point, report)


def _peak_note(prepared: Prepared) -> str:
    """A sentence where true signals go beyond the peak that their PSNR is taken for."""
    judge = prepared.evaluator.judge
    labels = [y for _, y in prepared.evaluator.search if y is not None]
    if not isinstance(judge, Signal) or judge.measure != "psnr" or not labels:
        return ""
    low, high = min(float(y.min()) for y in labels), max(float(y.max()) for y in labels)
    if max(abs(low), abs(high)) <= judge.peak:
        return ""
    return (
        f"The true signals reach from {low:g} to {high:g}, and the PSNR is taken for a peak of "
        f"{judge.peak:g}: set the judge's peak to {high - low:g}, their range, for figures that "
        "mean something."
    )


def measure_table(
    name: str,
    data: str,
    kind: str,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    calibration: int,
    search: int,
    *,
    save_table: Callable[[str, str, SensitivityTable], None],
    tell: Tell = lambda words: None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    opening: Opening = nullcontext,
    cache: Cache = NO_CACHE,
) -> SensitivityTable:
    """Compute a sensitivity table, under the key by which later searches find it.

    Args:
        name: Key of MODELS.
        data: Data name.
        kind: Key of SENSITIVITIES.
        weight_bits: Widths of weights to score.
        activation_bits: Widths of activations to score; (32,) for none.
        calibration: Images to calibrate on.
        search: Images of the search split.
        save_table: Given the key, the model's digest and the table.
        tell: Told in a few words what is being done.
        on_step: Told how many of how many steps are done.
        opening: Gives what is entered while network and data are opened.
        cache: Of what was worked out of this network and these samples.
    """
    prepared: Prepared | None = None

    def keep(key: str, table: SensitivityTable) -> None:
        if prepared is not None:
            save_table(key, prepared.model.digest, table)

    prepared = prepare(
        _spec(name, data, weight_bits, activation_bits, calibration, search),
        save_table=keep,
        on_progress=tell,
        on_step=on_step,
        opening=opening,
        cache=cache,
    )
    sensitivity = prepared.problem.sensitivity
    if sensitivity is None:
        raise RuntimeError("prepare always gives a sensitivity")
    return sensitivity(kind)


def _spec(
    name: str,
    data: str,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    calibration: int,
    search: int,
) -> RunSpec:
    return RunSpec(
        name,
        data,
        "uniform",
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        calibration_images=calibration,
        search_images=search,
    )


def _scores(scores: Any) -> dict[str, Any]:
    low, high = scores.interval
    labelled = scores.accuracy is not None
    return {"value": scores.headline, "low": low, "high": high, "n": scores.n, "labelled": labelled}


def _milliseconds(prepared: Prepared, x: Tree) -> float:
    """Median time of the float network for one sample of a batch."""
    device = choose_device("auto")
    times = []
    with torch.inference_mode():
        for _ in range(4):
            started = time.perf_counter()
            prepared.evaluator.model(x)
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return 1000 * sorted(times[1:])[1] / count(x)
