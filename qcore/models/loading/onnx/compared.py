"""An ONNX file as onnxruntime computes it on made-up samples: what a conversion is held against."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qcore.errors import QcoreError, UnsupportedModel
from qcore.example_inputs import example_inputs
from qcore.models.loading.onnx.endings import decision
from qcore.models.loading.onnx.opened import Gives
from qcore.models.loading.onnx.parse import short
from qcore.models.loading.onnx.runtime import answers_of, room_for, session_of
from qcore.models.loading.onnx.takes import Takes, choices, plain_names
from qcore.trees import call, leaves

AGREEMENT = 1e-3
"""Largest difference between converted network and onnxruntime, relative to the largest output."""

ROUNDING = 2.5e-7
"""What probabilities may differ by wherever they are small: those who compute a sigmoid or softmax
keep so much of 1, and not of the number itself."""

SAMPLES = 3
"""Samples it is checked with: more than one, because a batch size fixed in the file shows then."""

_LEAST = 10
"""Times ROUNDING that the largest probability has to be."""

_WIDENED = (
    "The file holds floats of 16 or 64 bits; it is read, given its inputs and run in float32."
)

Columns = dict[str, np.ndarray]


def _sample_bytes(takes: Takes) -> int:
    """Bytes of the largest samples that a file is tried on, at most."""
    sizes = [
        sum(8 * math.prod(slot.given.shape) for slot in tried.slots) for tried in choices(takes)
    ]
    return SAMPLES * max(sizes)


def columns_for(takes: Takes, n: int | None = None) -> Columns:
    """Made-up samples under the network's own names, (n, ...) each; None is a check's number."""
    if n is None:
        n = -(-SAMPLES // takes.piece) * takes.piece
    if takes.image:
        pictures = torch.rand(n, *takes.shape, generator=torch.Generator().manual_seed(0))
        return {takes.slots[0].given.name: pictures.numpy()}
    made = example_inputs(tuple(slot.given for slot in takes.slots), n)
    if isinstance(made, torch.Tensor):
        return {takes.slots[0].given.name: made.numpy()}
    return {name: values.numpy() for name, values in made.items()}


class Original:
    """The file itself in onnxruntime; in float32, where it computes in halves or doubles.

    Attributes:
        notes: What was found out by running it, in sentences.
    """

    def __init__(self, proto: Any, path: Path, takes: Takes, widened: bool = False) -> None:
        self._graph, self._name = proto.graph, path.name
        self.notes = [_WIDENED] if widened else []
        try:
            room = room_for(proto.ByteSize(), _sample_bytes(takes))
            self._session = session_of(proto if widened else path, room)
        except Exception as error:
            # onnxruntime's exceptions derive from Exception alone
            raise UnsupportedModel(
                f"onnxruntime cannot run {path.name}: {short(error)}. Check the file."
            ) from error

    def trial(self, takes: Takes) -> tuple[Takes, list[Gives]]:
        """The first sizes that it runs with, and what it gives then.

        Raises:
            UnsupportedModel: it runs with none, or gives nothing that can be compared.
        """
        tried = choices(takes)
        for found in tried:
            try:
                values = self._run(found, columns_for(found, found.piece))
            except QcoreError:
                raise
            except Exception as error:
                # onnxruntime's exceptions derive from Exception alone
                if found is not tried[-1]:
                    continue
                sizes = "".join(
                    f" --input {slot.given.name}:{slot.given.dtype}:SIZES"
                    for slot in takes.slots
                    if slot.open
                )
                advice = f"Say the sizes it was made for:{sizes}." if sizes else "Check the file."
                raise UnsupportedModel(
                    f"onnxruntime cannot run {self._name} on {_words(found)}: {short(error)}. "
                    f"{advice}"
                ) from error
            if any(slot.open for slot in takes.slots):
                self.notes.append(
                    f"The file leaves sizes open; {_words(found)} was taken, the first it runs "
                    "with. Other sizes can be given."
                )
            return self._settled(found, values)
        raise AssertionError("there is a choice")

    def answers(self, takes: Takes, gives: Sequence[Gives], columns: Columns) -> list[np.ndarray]:
        """What the file gives for some samples, piece by piece, samples first; an array an output.

        Raises:
            UnsupportedModel: it cannot be run, or its outputs change their shape.
        """
        n = len(next(iter(columns.values())))
        found: list[list[np.ndarray]] = [[] for _ in gives]
        try:
            for start in range(0, n, takes.piece):
                part = {k: v[start : start + takes.piece] for k, v in columns.items()}
                values = self._run(takes, part)
                for give, rows in zip(gives, found, strict=True):
                    rows.append(give.of_samples(values[give.name]))
        except QcoreError:
            raise
        except Exception as error:
            raise UnsupportedModel(
                f"onnxruntime cannot run {self._name}: {short(error)}. Check the file."
            ) from error
        for give, rows in zip(gives, found, strict=True):
            if len({row.shape for row in rows}) > 1:
                raise UnsupportedModel(
                    f"Its output {give.name!r} changes its shape from sample to sample: "
                    f"{', '.join(str(row.shape[1:]) for row in rows)}. Such outputs cannot be "
                    "compared; export the network without its last selection."
                )
        return [np.concatenate(rows) for rows in found]

    def close(self) -> None:
        """Give back the memory it runs in; its notes stay."""
        self._session = None

    def _run(self, takes: Takes, columns: Columns) -> dict[str, np.ndarray]:
        feeds = {s.name: s.in_file(columns[s.given.name]) for s in takes.slots}
        given = {entry.name for entry in self._session.get_inputs()}
        feeds |= {name: values for name, values in takes.fixed.items() if name in given}
        names = [value.name for value in self._graph.output]
        return dict(zip(names, answers_of(self._session, feeds, names), strict=True))

    def _settled(self, takes: Takes, values: dict[str, np.ndarray]) -> tuple[Takes, list[Gives]]:
        """Which outputs are kept, and whether the file really takes several samples at once."""
        grown = None
        if not takes.batch and all(slot.axis is not None for slot in takes.slots):
            try:
                grown = [self._run(takes, columns_for(takes, n)) for n in (2, 3)]
            except Exception:  # noqa: BLE001 - onnxruntime's own: it takes one sample alone
                takes = replace(takes, batch=1)
        kept = self._kept(takes, values)
        words = plain_names(kept)
        gives = []
        for name, word in zip(kept, words, strict=True):
            pair = None if grown is None else [found[name].shape for found in grown]
            give = _gives(name, word, values[name].shape, takes.piece, pair)
            if give is not None and not give.shape:
                give = Gives(name, word, (1,), None)  # one number a sample is a row of one
            if give is None:
                self.notes.append(f"Its output {name} is the same for all samples; it is left out.")
            else:
                gives.append(give)
        if not gives:
            raise UnsupportedModel(
                "No output of the file has a row for each sample; export it so that samples are "
                "the first dimension."
            )
        return takes, gives

    def _kept(self, takes: Takes, values: dict[str, np.ndarray]) -> list[str]:
        states = {values_shape(slot) for slot in takes.slots if slot.given.zeros}
        kept, decided = [], []
        for place, (name, found) in enumerate(values.items()):
            how = decision(self._graph, name)
            if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or how is not None:
                decided.append((name, how))
            elif place and _shape_of_state(found.shape, takes.piece) in states:
                self.notes.append(
                    f"Its output {name} is the state for what comes next; it is not compared."
                )
            else:
                kept.append(name)
        if not kept:
            raise UnsupportedModel(_decided(self._name, decided))
        if decided:
            names = ", ".join(name for name, _ in decided)
            self.notes.append(f"Left out, as no numbers that can be compared: {names}.")
        return kept


def values_shape(slot: Any) -> tuple[int, ...]:
    """Sizes of a state without the samples, in order of size."""
    return tuple(sorted(slot.given.shape))


def _shape_of_state(shape: tuple[int, ...], piece: int) -> tuple[int, ...]:
    rest = list(shape)
    if piece in rest:
        rest.remove(piece)
    return tuple(sorted(rest))


def _decided(path: str, decided: list[tuple[str, tuple[str, str] | None]]) -> str:
    name, how = decided[0]
    if how is None:
        return (
            f"The output {name!r} of {path} holds no floats, so that nothing says how far a "
            "quantized network is from it. Export the network with its scores as an output."
        )
    operator, before = how
    return (
        f"{path} ends in {operator}, which gives a decision and not how sure the network is of it: "
        f"bits cannot be judged by that. Take it off: onnx.utils.extract_model({path!r}, "
        f"'scores.onnx', [inputs], [{before!r}]) keeps the network up to the scores {before!r}."
    )


def _gives(
    name: str,
    word: str,
    shape: tuple[int, ...],
    piece: int,
    pair: list[tuple[int, ...]] | None,
) -> Gives | None:
    """Where the samples lie in an output; None where it has no place for them.

    Args:
        name: As the file calls it.
        word: As bitdial calls it.
        shape: Of the output for one piece.
        piece: Samples in a piece.
        pair: Its shapes for 2 and for 3 samples; None where the file takes its own number alone.
    """
    if pair is not None:
        grown = [at for at, (a, b) in enumerate(zip(*pair, strict=False)) if a != b]
        if len(pair[0]) != len(pair[1]) or len(grown) != 1:
            return None
        axis, rest = grown[0], shape
        if pair[0][axis] == 2:
            return Gives(name, word, _without(rest, axis), axis)
        each = pair[0][axis] // 2
        fits = axis == 0 and pair[0][0] == 2 * each and pair[1][0] == 3 * each
        return Gives(name, word, (each, *rest[1:]), None) if fits else None
    if shape and shape[0] == piece:
        return Gives(name, word, shape[1:], 0)
    if piece in shape and piece > 1:
        axis = shape.index(piece)
        return Gives(name, word, _without(shape, axis), axis)
    if piece == 1:
        return Gives(name, word, shape, None)
    if shape and shape[0] % piece == 0:
        return Gives(name, word, (shape[0] // piece, *shape[1:]), None)
    return None


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _words(takes: Takes) -> str:
    if takes.image:
        return f"pictures of {'x'.join(map(str, takes.shape))}"
    return "; ".join(slot.given.words for slot in takes.slots)


def difference(
    network: nn.Module,
    takes: Takes,
    gives: Sequence[Gives],
    columns: Columns,
    wanted: Sequence[np.ndarray],
    endings: Sequence[str] = (),
) -> float:
    """How far a network's outputs are from the file's at most, over the largest of each output.

    Args:
        network: Takes what `takes` says.
        takes: Its inputs.
        gives: Its outputs.
        columns: Samples.
        wanted: What the file gives for them, an array an output.
        endings: "sigmoid" or "softmax" where that ends an output; () where it is not known.

    Raises:
        UnsupportedModel: it cannot run on them together, returns other shapes, or is too far off.
    """
    tensors = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in columns.items()}
    x: Any = tensors if len(tensors) > 1 else next(iter(tensors.values()))
    n = len(next(iter(columns.values())))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = list(leaves(call(network, x)))
    except Exception as error:
        what = "images" if takes.image else "samples"
        raise UnsupportedModel(
            f"it cannot run on a batch of {n} {what} ({short(error)}); export it with the batch "
            "size left open."
        ) from error
    if len(found) != len(wanted):
        raise UnsupportedModel(f"it gives {len(found)} outputs, onnxruntime {len(wanted)}.")
    worst = 0.0
    for place, (give, got, aim) in enumerate(zip(gives, found, wanted, strict=True)):
        which = f"output {give.name!r}" if len(wanted) > 1 else "output"
        if not np.isfinite(aim).all():
            raise UnsupportedModel(f"the file's own {which} is NaN or infinite on ordinary inputs.")
        if tuple(got.shape) != aim.shape:
            raise UnsupportedModel(f"its {which} is {tuple(got.shape)}, onnxruntime's {aim.shape}.")
        scale = max(float(np.abs(aim).max()), 1e-12)
        off = float(np.abs(got.numpy() - aim).max())
        if endings[place : place + 1] and endings[place]:
            off = max(0.0, off - ROUNDING)
            if scale < _LEAST * ROUNDING:
                raise UnsupportedModel(
                    f"all probabilities of its {which} are below {_LEAST * ROUNDING:.1g} on "
                    "made-up samples, too small to show whether it computes the same."
                )
        off /= scale
        if not off <= AGREEMENT:
            which = which if len(wanted) > 1 else "outputs"
            verb = "differs" if len(wanted) > 1 else "differ"
            raise UnsupportedModel(
                f"its {which} {verb} from onnxruntime's by {100 * off:.3g} % of the largest."
            )
        worst = max(worst, off)
    return worst
