"""Labels of texts, as a network's judge takes them."""

import math

import torch
from torch import Tensor

from qcore.data.tagged.documents import Label
from qcore.errors import InvalidConfig, InvalidData, QcoreError
from qcore.judges import Judge
from qcore.models.cards import FOLDER, card_folder
from qcore.models.catalog import read_models
from qcore.models.hugging_folder import label_names, read_config

NUMBERED = ("classes", "embedding")
"""Judges that take class numbers."""


def read_text_labels(
    found: list[tuple[Label, str]], model: str, judge: Judge, notes: list[str]
) -> tuple[tuple[str, ...], Tensor | None]:
    """The labels of documents as a judge takes them.

    Args:
        found: Label and place of each document; None where it has no label.
        model: Name of the network.
        judge: How its answers are compared.
        notes: Gets a sentence on what was converted, or not used.

    Returns:
        (names of the classes in label order, labels (n,)); both empty where there are none, or
        the judge takes none of this kind.

    Raises:
        InvalidData: some documents have no label, or one is no class of the network.
    """
    bare = [place for label, place in found if label is None]
    if len(bare) == len(found):
        return (), None
    if judge.name == "signal":
        return (), _amounts(found, bare)
    if judge.name not in NUMBERED:
        notes.append(f"The labels are not used: the judge {judge.name!r} takes none of a document.")
        return (), None
    if bare:
        raise InvalidData(
            f"{bare[0]} has no label, and others have: {len(bare):,} of {len(found):,}. Give all a "
            "label, or none."
        )
    names = class_names(model)
    numbers = _by_name(found, names, notes) or [_whole(label, place) for label, place in found]
    if judge.name != "classes":
        return (), torch.tensor(numbers)
    classes = read_models()[model].classes
    for number, (label, place) in zip(numbers, found, strict=True):
        if not 0 <= number < classes:
            raise InvalidData(
                f"{place}: the label {label!r} is no class of {model}, which has {classes:,} "
                f"(0 to {classes - 1:,})."
            )
    shown = names if len(names) == classes else tuple(map(str, range(classes)))
    return shown, torch.tensor(numbers)


def _amounts(found: list[tuple[Label, str]], bare: list[str]) -> Tensor:
    values = [_number(label, place) for label, place in found]
    if bare:
        raise InvalidData(f"{bare[0]} has no label, and others have. Give all a label, or none.")
    return torch.tensor(values, dtype=torch.float32)[:, None]


def _number(label: Label, place: str) -> float:
    try:
        value = float(label if label is not None else math.nan)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidData(f"{place}: the label {str(label)[:60]!r} is no number.")
    return value


def _whole(label: Label, place: str) -> int:
    value = _number(label, place)
    if not value.is_integer():
        raise InvalidData(f"{place}: the label {label!r} is no class number.")
    return int(value)


def _by_name(
    found: list[tuple[Label, str]], names: tuple[str, ...], notes: list[str]
) -> list[int] | None:
    """Class numbers of labels that are names; None where all are numbers."""
    words = [(label, place) for label, place in found if isinstance(label, str)]
    if not words or all(str(label).strip().lstrip("-").isdecimal() for label, _ in words):
        return None
    if len(words) < len(found):
        raise InvalidData(
            f"Some labels are names ({str(words[0][0])[:60]!r} in {words[0][1]}) and others are "
            "numbers. Write them alike."
        )
    texts = [str(label).strip() for label, _ in words]
    known = {name.casefold(): number for number, name in enumerate(names)}
    if all(text.casefold() in known for text in texts):
        return [known[text.casefold()] for text in texts]
    order = sorted(set(texts))
    numbered = {text: number for number, text in enumerate(order)}
    shown = ", ".join(f"{text[:40]} = {number}" for text, number in list(numbered.items())[:10])
    notes.append(
        f"The labels are names, numbered in alphabetical order ({shown}): are these the network's "
        "classes?"
    )
    return [numbered[text] for text in texts]


def class_names(model: str) -> tuple[str, ...]:
    """What a Hugging Face network calls its classes; () where it does not say."""
    try:
        return label_names(read_config(card_folder(model) / FOLDER))
    except (QcoreError, InvalidConfig):
        return ()
