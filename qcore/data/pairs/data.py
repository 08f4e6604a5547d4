"""A folder of pairs as the data of a network of images that gives maps or pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from qcore.data.folder_splits import Drawn, split_folder
from qcore.data.image_files import REMARKS, Decoded, read_image
from qcore.data.image_folder import FolderImages, Parts, Reader
from qcore.data.listing import IMAGES, shown
from qcore.data.pairs.folders import pair_parts
from qcore.data.pairs.targets import TargetKind, as_labels, read_target, size_of, target_size
from qcore.data.splits import Data, Images, assemble
from qcore.errors import InvalidData
from qcore.judges.map import Map
from qcore.judges.parts import Parts as JudgeParts
from qcore.judges.signal import Signal
from qcore.models.entries import ModelEntry
from qcore.models.preprocessing import Preprocessing

_TRIED = 20
"""Pairs looked at until one tells the size of all."""

_REMARKS = {
    **REMARKS,
    "scaled": "{n} pairs were scaled or cropped to the network's input, {first} first: scores are "
    "those of the scaled pictures.",
}


@dataclass(frozen=True)
class PairSteps:
    """How a pair becomes a sample and its label.

    Attributes:
        steps: How the network's images are prepared.
        kind: What targets are.
        targets: Each input's file to its target's.
        size: (height, width) of targets.
    """

    steps: Preprocessing
    kind: TargetKind
    targets: Mapping[Path, Path]
    size: tuple[int, int]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an input."""
        return self.steps.input_shape


def pair_data(
    name: str,
    path: Path,
    entry: ModelEntry,
    counts: tuple[int, int],
    seed: int,
    *,
    most: int,
    training: bool,
) -> Data:
    """Read and split a folder of pairs.

    Args:
        name: The data name.
        path: The folder.
        entry: Of the network; its judge says whether targets are maps or pictures.
        counts: Pairs to calibrate on and to search on.
        seed: Which are drawn.
        most: Most test pairs, and most training pairs.
        training: Also give pairs to train on.

    Raises:
        InvalidData: no pairs, another judge, or targets that cannot be those of the network.
        InvalidParams: more pairs are asked for than there are.
        DataUnavailable: there is no such folder.
    """
    kind = target_kind(entry)
    if kind is None:
        raise InvalidData(
            f"Pairs of images are for networks whose judge is 'map' or 'signal' (psnr); "
            f"{entry.name} is compared by {entry.judge.name!r}. Use imagefolder: for class "
            "folders, or another judge."
        )
    found = pair_parts(path)
    every = [part for part in (found.train, found.val, found.held_out) if part is not None]
    targets = {image: target for part in every for image, target in part.targets.items()}
    steps = PairSteps(entry.preprocessing, kind, targets, _size(targets, entry.preprocessing))
    reader = Reader(IMAGES, _decoded, _REMARKS, {})
    train, val, held_out = (
        None if part is None else FolderImages(tuple(part.targets), reader=reader)
        for part in (found.train, found.val, found.held_out)
    )
    parts = Parts(train or FolderImages(()), val, held_out, found.notes)
    pixels = entry.preprocessing.height * entry.preprocessing.width * entry.preprocessing.channels
    beside = 2 if kind.classes is not None else 4 * kind.channels
    drawn = split_folder(
        name,
        parts,
        counts,
        seed,
        steps,
        most=most,
        training=training,
        sample_bytes=pixels + beside * steps.size[0] * steps.size[1],
    )
    notes = list(drawn.notes)
    mean, std = entry.preprocessing.mean, entry.preprocessing.std
    read: list[Drawn] = [*drawn.splits, *filter(None, [drawn.training])]
    values = [torch.zeros(0) if part.beside is None else part.beside for part in read]
    # what 255 means is told from all masks together
    labels = as_labels(torch.cat(values), kind, notes).split([len(part.pixels) for part in read])
    splits = [Images(part.pixels, own, mean, std) for part, own in zip(read, labels, strict=True)]
    chosen = [part.used for part in drawn.splits]
    data = assemble(name, (), splits[:3], chosen, tuple(notes))
    return data if drawn.training is None else replace(data, training=splits[3])


def target_kind(entry: ModelEntry) -> TargetKind | None:
    """What a network's targets are, told from its judge; None where it takes no such labels."""
    judge = entry.judge
    if isinstance(judge, JudgeParts):
        judge = judge.parts[0]
    if isinstance(judge, Map):
        # classes are counted of the first output alone
        known = entry.classes if not judge.output else 32_000
        return TargetKind(2 if judge.binary else known, judge.binary)
    if isinstance(judge, Signal) and judge.measure == "psnr":
        channels = entry.preprocessing.channels if judge.output else entry.classes
        return TargetKind(None, channels=channels)
    return None


def _size(targets: Mapping[Path, Path], steps: Preprocessing) -> tuple[int, int]:
    """(height, width) of targets once read, told from the first pair that can be opened."""
    failed: InvalidData | None = None
    for image, target in list(targets.items())[:_TRIED]:
        try:
            return target_size(image, target, steps)
        except InvalidData as error:
            failed = failed or error
    raise failed or InvalidData("There are no pairs.")


def _decoded(path: Path, steps: PairSteps) -> Decoded:
    target = steps.targets[path]
    image = read_image(path, steps.steps)
    size = target_size(path, target, steps.steps)
    if size != steps.size:
        raise InvalidData(
            f"{shown(target)} would become {size[0]}x{size[1]}, and others {steps.size[0]}x"
            f"{steps.size[1]} (height x width); targets of one set are of one size."
        )
    values = read_target(target, steps.steps, size, steps.kind)
    scaled = size_of(path) != (steps.steps.height, steps.steps.width)
    return Decoded(image.pixels, (*image.remarks, *(["scaled"] if scaled else [])), values)
