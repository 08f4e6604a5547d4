"""Runs a configuration on samples of its search split and keeps what both networks answer.

The test split is never looked at here: who has seen single test samples chooses by them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcore.data import Data
from qcore.data.splits import Images, Split
from qcore.errors import InvalidConfig, InvalidData
from qcore.formats.config import BitConfig
from qcore.inputs import Input
from qcore.judges import Judge
from qcore.judges.parts import Parts
from qcore.pictures.layout import form_of, laid_out, planes
from qcore.pictures.record import MOST_BYTES, Answer, Panel, SampleRecord, unshown
from qcore.pictures.views import VIEWS, Arrays, nearest, signal_form
from qcore.pictures.words import chosen_words, read_words, tokenizer_places
from qcore.scoring.evaluator import batch_size_for, to_batches
from qcore.scoring.verification import Opening, Rebuilt, rebuild
from qcore.trees import Tree, call, count

MOST_SAMPLES = 1024
WORST = 16
"""Samples that are kept before all others: those whose answers differ most."""


def look_at(
    config: BitConfig,
    most_bytes: int = MOST_BYTES,
    tell: Callable[[str], None] = lambda words: None,
    opening: Opening = nullcontext,
) -> SampleRecord:
    """What a network and its quantized self answer to samples of the search split.

    Args:
        config: With quantizer state, and with the data's name in its provenance.
        most_bytes: Of all kept samples; the worst come first, then the others in their order.
        tell: Told in a few words what is being done.
        opening: Gives what is entered while network and data are opened, to bound it.

    Raises:
        InvalidConfig: it holds bits alone, does not say its data, or is for another network.
        InvalidData: the answers are not numbers, or not of one shape.
        DataUnavailable: the samples or weights are not here, or are others.
    """
    reason = unshown(config)
    if reason is not None:
        raise InvalidConfig(f"Its samples cannot be shown: {reason}")
    tell("Loading the network and its data")
    found = rebuild(config, opening)
    total = len(found.data.search)
    samples = found.data.search.at(torch.arange(min(total, MOST_SAMPLES)))
    distances, answers = _run(found, samples, tell)
    inputs, notes = panels_of(samples)
    labels = samples.labels
    known = None
    if labels is not None and labels.dim() == 1 and not labels.is_floating_point():
        known = labels.numpy()
    numbers = _kept(distances, [*inputs, *answers], most_bytes)
    record = SampleRecord(
        model=config.model.name,
        data=str(config.provenance["data"]),
        judge=found.judge,
        divergence=distances,
        total=total,
        numbers=numbers,
        inputs=tuple(replace(panel, values=panel.values[numbers]) for panel in inputs),
        answers=tuple(_only(answer, numbers) for answer in answers),
        labels=None if known is None else known[numbers],
        class_names=found.data.class_names,
        notes=notes,
    )
    return _with_words(record, found.data)


def _run(
    found: Rebuilt, samples: Split, tell: Callable[[str], None]
) -> tuple[np.ndarray, list[Answer]]:
    """Divergence of every sample (n,), and what is kept of both networks' answers to them."""
    judge = found.judge
    parts = judge.parts if isinstance(judge, Parts) else (judge,)
    weights = judge.weights if isinstance(judge, Parts) else (1.0,)
    size = batch_size_for(found.data.input_shape, found.device, found.data.ids)
    divergence: list[Tensor] = []
    each: list[list[Tensor]] = [[] for _ in parts]
    views: list[list[Arrays]] = [[] for _ in parts]
    forms, worded = [""] * len(parts), [False] * len(parts)
    done = 0
    with torch.inference_mode():
        for x, y in to_batches(samples, size, found.device, judge):
            tell(f"Running both networks: {done:,} of {len(samples):,} samples")
            floats, quantized = call(found.network, x), call(found.quantized, x)
            divergence.append(_distance(judge, floats, quantized, x))
            for at, part in enumerate(parts):
                each[at].append(_distance(part, floats, quantized, x))
                if part.name in VIEWS:
                    truth = y if at == 0 else None
                    views[at].append(VIEWS[part.name](part, floats, quantized, x, truth))
                if part.name == "signal":
                    forms[at] = signal_form(part, floats)
                if part.name == "tokens":
                    worded[at] = part.chosen(floats).shape[2] == _vocabulary(found.data)
            done += count(x)
    answers = [
        Answer(part, weight, _array(own), _joined(part, rows), form, same)
        for part, weight, own, rows, form, same in zip(
            parts, weights, each, views, forms, worded, strict=True
        )
    ]
    return _array(divergence), answers


def _distance(judge: Judge, floats: Any, quantized: Any, x: Tree) -> Tensor:
    found = judge.divergence(judge.read(quantized, x), judge.read(floats, x))
    if not bool(found.isfinite().all()):
        raise InvalidData(
            "The answers of a sample are NaN or infinite; check the data and the weights."
        )
    # rounding can leave a divergence of -1e-9 where the networks agree
    return found.clamp_min(0.0)


def _joined(judge: Judge, rows: Sequence[Arrays]) -> Arrays:
    if not rows:
        return {}
    shapes = {name: {row[name].shape[1:] for row in rows} for name in rows[0]}
    changing = [found for found in shapes.values() if len(found) > 1]
    if changing:
        sizes = " and ".join(map(str, sorted(changing[0])[:2]))
        raise InvalidData(
            f"The network's outputs change their shape from batch to batch: {sizes}. Pad its "
            "inputs to one length."
        )
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return nearest(found) if judge.name == "embedding" else found


def _only(answer: Answer, numbers: np.ndarray) -> Answer:
    arrays = {name: values[numbers] for name, values in answer.arrays.items()}
    return replace(answer, divergence=answer.divergence[numbers], arrays=arrays)


def _array(parts: Sequence[Tensor]) -> np.ndarray:
    found: np.ndarray = torch.cat(list(parts)).double().cpu().numpy()
    return found


def _kept(divergence: np.ndarray, parts: Sequence[Panel | Answer], most: int) -> np.ndarray:
    """Numbers of the samples that fit: the worst first, then in order; returned rising."""
    arrays: list[np.ndarray] = []
    for part in parts:
        arrays += [part.values] if isinstance(part, Panel) else list(part.arrays.values())
    one = sum(values[:1].nbytes for values in arrays) or 1
    worst = np.argsort(-divergence, kind="stable")[:WORST]
    rest = np.setdiff1d(np.arange(len(divergence)), worst)
    return np.sort(np.concatenate([worst, rest])[: max(1, most // one)])


def panels_of(samples: Split) -> tuple[list[Panel], tuple[str, ...]]:
    """Samples as they are shown, and sentences on what of them is not."""
    if isinstance(samples, Images):
        whole = tuple(samples.pixels.shape[1:])
        pixels = samples.pixels
        if pixels.is_floating_point():
            pixels = (pixels * 255).round().to(torch.uint8)
        return [Panel("", "planes", planes(pixels.numpy()), whole)], ()
    shown, left = [], []
    for wanted in samples.inputs:
        values = samples.columns[wanted.name]
        if wanted.zeros and not bool(values.any()):
            left.append(wanted.name)
            continue
        shown.append(_panel(wanted, values.numpy()))
    notes = (f"Fed with zeros and not shown: {', '.join(left)}.",) if left else ()
    return shown, notes


def _panel(wanted: Input, values: np.ndarray) -> Panel:
    if values.ndim == 2 and values.dtype.kind in "iub":
        kept = values if values.dtype.kind == "b" else values.astype(np.int64)
        return Panel(wanted.name, "ids", kept, wanted.shape)
    form = form_of(wanted.shape)
    return Panel(wanted.name, form, laid_out(values.astype(np.float32), form), wanted.shape)


def _vocabulary(data: Data) -> int:
    """How many ids the network's texts may hold; 0 where it takes none."""
    return max((each.high or 0 for each in data.inputs if _is_text(each)), default=0)


def _is_text(wanted: Input) -> bool:
    return wanted.high is not None and wanted.high > 2 and len(wanted.shape) == 1


def _with_words(record: SampleRecord, data: Data) -> SampleRecord:
    """The record with the words of its tokens, where a tokenizer of the network is known."""
    texts = {each.name for each in data.inputs if _is_text(each)}
    columns = [panel.values for panel in record.inputs if panel.name in texts]
    for answer in record.answers:
        if answer.worded:
            columns += [answer.arrays["float"], answer.arrays["quantized"]]
    if not columns or not texts:
        return record
    words: Mapping[int, str] = {}
    for path in tokenizer_places(record.model, record.data):
        words = words or read_words(path)
    tokens = {int(token) for values in columns for token in np.unique(values)}
    return replace(record, words=chosen_words(words, tokens, _vocabulary(data)))
