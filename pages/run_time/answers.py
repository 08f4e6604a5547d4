"""Ten samples with what the network answers now, and what the float network answers."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from pages.plots.sample_planes import is_picture
from pages.shared.judged import Words
from pages.shared.text import literal
from qcore.allocation import BitAllocation
from qcore.pictures.served import Answers, ServedRecord

PICTURE = 84
"""Pixels of a picture's shorter side, at least."""

CARD = 128
"""Pixels of the width of a sample with its answers."""


@dataclass(frozen=True)
class Line:
    """One sample in words.

    Attributes:
        label: What it is labelled; "" where it has no label.
        before: What the float network answers; "" where the judge compares no classes.
        now: What the network answers now, as above.
        changed: Whether the two differ.
        far: The divergence of the two, with its unit.
    """

    label: str
    before: str
    now: str
    changed: bool
    far: str


def lines_of(record: ServedRecord, answers: Answers) -> list[Line]:
    """Each sample with the answers of some bits. Pure."""
    return [_line(record, answers, place) for place in range(record.count)]


def _line(record: ServedRecord, answers: Answers, place: int) -> Line:
    floats = record.floats
    label = "" if record.labels is None else _class(record, int(record.labels[place]))
    divergence = float(answers.divergence[place])
    far = f"{record.judge.divergence_name} {divergence:.3g} {record.judge.unit}"
    if floats.classes is None or answers.classes is None:
        return Line(label, "", "", False, far)
    changed = bool(answers.classes[place] != floats.classes[place])
    return Line(
        label, _answer(record, floats, place), _answer(record, answers, place), changed, far
    )


def _answer(record: ServedRecord, answers: Answers, place: int) -> str:
    if answers.classes is None or answers.sure is None:
        return ""
    share = 100 * float(answers.sure[place])
    return f"{_class(record, int(answers.classes[place]))}, {share:.0f} %"


def _class(record: ServedRecord, number: int) -> str:
    names = record.class_names
    return names[number] if 0 <= number < len(names) else f"class {number}"


def summary(record: ServedRecord, lines: list[Line]) -> str:
    """How many answers changed, and how many are right, in a sentence. Pure."""
    if record.floats.classes is None:
        return "These answers are no classes: what is shown is how far each has moved."
    changed = sum(line.changed for line in lines)
    return f"Answers other than the float network's: {changed} of {len(lines)}."


def right_words(record: ServedRecord, answers: Answers) -> str:
    """How many of the samples are named right by both networks; "" without labels. Pure."""
    if record.labels is None or record.floats.classes is None or answers.classes is None:
        return ""
    right = [int((each.classes == record.labels).sum()) for each in (answers, record.floats)
             if each.classes is not None]  # fmt: skip
    return f"Named right: {right[0]} of {record.count}; in float: {right[1]}."


def pixels(record: ServedRecord, place: int) -> np.ndarray | None:
    """A sample as a picture, uint8 (height, width) or (height, width, 3); None where it is none."""
    if len(record.inputs) != 1 or record.inputs[0].form != "planes":
        return None
    planes = record.inputs[0].values[place]
    if not is_picture(planes):
        return None
    if planes.dtype != np.uint8:
        planes = (planes.clip(0, 1) * 255).round().astype(np.uint8)
    times = max(1, -(-PICTURE // min(planes.shape[1:])))
    large = planes.repeat(times, axis=1).repeat(times, axis=2)
    return large[0] if len(large) == 1 else np.moveaxis(large, 0, 2)


def draw(record: ServedRecord, allocation: BitAllocation, words: Words) -> None:
    """Draw the samples with the answers of an allocation; says so where it has none."""
    answers = record.find(allocation)
    if answers is None:
        st.caption("What the network answers at these bits was not computed.")
        return
    lines = lines_of(record, answers)
    told = (summary(record, lines), right_words(record, answers))
    st.markdown(literal(" ".join(filter(None, told))))
    with st.container(horizontal=True, key="rt-samples"):
        for place, line in enumerate(lines):
            with st.container(border=True, width=CARD + 34, key=f"rt-sample-{place}"):
                _sample(record, place, line, words)


def _sample(record: ServedRecord, place: int, line: Line, words: Words) -> None:
    picture = pixels(record, place)
    title = f"{words.sample.capitalize()} {place}"
    if picture is not None:
        st.image(picture, width=PICTURE)
    rows = [f"**{title}**" + (f": {literal(line.label, 60)}" if line.label else "")]
    if line.now:
        rows.append(f"Float: {literal(line.before, 60)}")
        mark = ":material/swap_horiz: **changed:** " if line.changed else "Now: "
        rows.append(f"{mark}{literal(line.now, 60)}")
    else:
        rows.append(literal(line.far))
    st.markdown("  \n".join(rows))
