"""Folders of pairs: which file belongs to which, and what part the pairs belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qcore.data.image_folder import ROLES
from qcore.data.listing import existing, folders_in, image_files, shown
from qcore.errors import InvalidData

INPUTS = ("input", "inputs", "image", "images", "noisy", "low", "lr")
TARGETS = (
    *("target", "targets", "mask", "masks", "label", "labels", "annotations"),
    *("clean", "gt", "high", "hr"),
)
"""What the two folders are called, in capitals or not."""

ENDINGS = ("_mask", "_masks", "_gt", "_label", "_labels", "_seg", "_target", "_clean", "-mask")
"""What the name of a target may have behind that of its input."""

MOST_LISTED = 20


@dataclass(frozen=True)
class PairFiles:
    """The pairs of one part.

    Attributes:
        targets: Each input, in sorted order, to its target.
    """

    targets: Mapping[Path, Path]


@dataclass(frozen=True)
class PairParts:
    """A folder of pairs, by what its parts are for.

    Attributes:
        train: Pairs to calibrate, search and train on.
        val: Pairs to search on, where there is a test part too; None otherwise.
        held_out: Pairs to test on; None where they are drawn from `train`.
        notes: Sentences on what is left out.
    """

    train: PairFiles
    val: PairFiles | None = None
    held_out: PairFiles | None = None
    notes: tuple[str, ...] = ()


def pair_parts(path: Path) -> PairParts:
    """List the pairs of a folder, by the names of their files.

    Args:
        path: Holds input/ and target/; or train/ and test/ (or val/, or both) with these in each;
            or input/train/ and so on.

    Raises:
        DataUnavailable: there is no such folder.
        InvalidData: no pairs, or one part without the others.
    """
    children = folders_in(existing(path))
    found = _divided(path, children)
    notes: list[str] = []
    if set(found) == {""}:
        return PairParts(_matched(*found[""], notes), notes=tuple(notes))
    if "train" not in found or len(found) < 2:
        raise InvalidData(
            f"{shown(path)} has only its {', '.join(found)} part; it needs train/ and val/ (or "
            "test/). To have pairs split by the seed, give the folder that holds input/ and "
            "target/."
        )
    parts = {role: _matched(*folders, notes) for role, folders in found.items()}
    if len(parts) < len(ROLES):
        return PairParts(
            parts["train"], None, parts["val" if "val" in parts else "test"], tuple(notes)
        )
    return PairParts(parts["train"], parts["val"], parts["test"], tuple(notes))


def _divided(path: Path, children: Sequence[Path]) -> dict[str, tuple[Path, Path]]:
    """(input folder, target folder) of each part; of the part "" where there are none."""
    both = _both(children)
    if both is not None:
        inner = [_roles(folders_in(folder)) for folder in both]
        shared = [role for role in ROLES if role in inner[0] and role in inner[1]]
        if "train" in shared and len(shared) > 1:
            return {role: (inner[0][role], inner[1][role]) for role in shared}
        return {"": both}
    found = {}
    for role, folder in _roles(children).items():
        pair = _both(folders_in(folder))
        if pair is None:
            raise InvalidData(_needs(folder))
        found[role] = pair
    if not found:
        raise InvalidData(_needs(path))
    return found


def _roles(children: Sequence[Path]) -> dict[str, Path]:
    return {
        role: child
        for role, names in ROLES.items()
        for child in children
        if child.name.lower() in names
    }


def _both(children: Sequence[Path]) -> tuple[Path, Path] | None:
    """The folders of inputs and of targets among some; None where one is missing."""
    inputs = [child for child in children if child.name.lower() in INPUTS]
    targets = [child for child in children if child.name.lower() in TARGETS]
    for named in (inputs, targets):
        if len(named) > 1:
            raise InvalidData(
                f"{shown(named[0].parent)} holds {' and '.join(shown(f.name) for f in named)}, and "
                "one of them is meant; keep one, or call them input/ and target/."
            )
    return (inputs[0], targets[0]) if inputs and targets else None


def _needs(folder: Path) -> str:
    return (
        f"{shown(folder)} holds no pairs: it needs input/ (or {', '.join(INPUTS[1:4])}) and "
        f"target/ (or {', '.join(TARGETS[1:6])}), with files of the same names in both."
    )


def _matched(inputs: Path, targets: Path, notes: list[str]) -> PairFiles:
    ours, theirs = _by_stem(inputs), _by_stem(targets)
    if not set(ours) & set(theirs):
        shorter = _shortened(theirs)
        if set(ours) & set(shorter):
            ending = next(end for end in ENDINGS if any(stem.endswith(end) for stem in theirs))
            notes.append(f"Files of {shown(targets.name)}/ were matched without their {ending}.")
            theirs = shorter
    both = sorted(set(ours) & set(theirs))
    if not both:
        raise InvalidData(
            f"No file of {shown(inputs)} has one of the same name in {shown(targets)}: "
            f"{_listed(list(ours))} there, {_listed(list(theirs))} here. Name both alike."
        )
    for folder, stems, others in ((inputs, ours, theirs), (targets, theirs, ours)):
        alone = sorted(set(stems) - set(others))
        if alone:
            notes.append(
                f"{len(alone):,} of {len(stems):,} files of {shown(folder)} have no partner and "
                f"were left out: {_listed(alone)}."
            )
    return PairFiles({ours[stem]: theirs[stem] for stem in both})


def _by_stem(folder: Path) -> dict[str, Path]:
    """Files by their place in a folder, without their endings."""
    found: dict[str, Path] = {}
    for path in image_files(folder).files:
        stem = shown(path.relative_to(folder).with_suffix(""))
        if stem in found:
            raise InvalidData(
                f"{shown(path)} and {shown(found[stem].name)} have one name without their endings; "
                "keep one of them."
            )
        found[stem] = path
    return found


def _shortened(stems: Mapping[str, Path]) -> dict[str, Path]:
    """The same by stems without one of ENDINGS."""
    found = {}
    for stem, path in stems.items():
        ending = next((end for end in ENDINGS if stem.lower().endswith(end)), "")
        found[stem[: len(stem) - len(ending)]] = path
    return found


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no images"
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")
