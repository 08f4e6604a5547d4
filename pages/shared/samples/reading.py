"""One sample of a record as words, positions and tables. Pure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pages.plots.token_bars import Position
from pages.shared.text import tidy
from qcore.judges import Judge
from qcore.pictures.record import Answer, Panel, SampleRecord

MOST_WORDS = 400
SNIPPET = 12


def seen(words: str) -> str:
    """Words of others as they can be read: line breaks as signs, nothing that is not seen."""
    shown = words.replace("\n", "\u21b5").replace("\t", "\u21e5")
    return "".join(c for c in shown if c.isprintable())


def word(record: SampleRecord, token: int) -> str:
    """A token as its word, or as its number where no word is known."""
    return seen(record.word(token))


def class_name(record: SampleRecord, number: int) -> str:
    """A class by its name, or its number where it has none."""
    known = record.class_names
    return seen(known[number]) if 0 <= number < len(known) else str(number)


def label_name(record: SampleRecord, place: int) -> str:
    """What a kept sample is labelled; "" where it has no label."""
    if record.labels is None:
        return ""
    label = int(record.labels[place])
    if getattr(record.answers[0].judge, "measure", "") == "auc":
        return "odd" if label else "usual"
    return class_name(record, label)


def amount(judge: Judge, value: float) -> str:
    """A divergence with its name and unit: "KL divergence 0.12 nats"."""
    unit = judge.unit if judge.unit.startswith("nats") else f"({judge.unit})"
    return f"{judge.divergence_name} {value:.4g} {unit}"


def texts(record: SampleRecord) -> list[Panel]:
    """The inputs that are tokens, not masks."""
    masks = {answer.judge.mask for answer in record.answers}
    return [
        panel
        for panel in record.inputs
        if panel.form == "ids" and panel.values.dtype != bool and panel.name not in masks
    ]


def counted(record: SampleRecord, panel: Panel, place: int) -> np.ndarray:
    """Which positions of a text a mask counts; all of them where there is no mask."""
    masks = {answer.judge.mask for answer in record.answers} - {""}
    for other in record.inputs:
        if other.name in masks and other.values.shape == panel.values.shape:
            found: np.ndarray = other.values[place] != 0
            return found
    return np.ones(panel.values.shape[1], bool)


def sentence(record: SampleRecord, panel: Panel, place: int, most: int = MOST_WORDS) -> str:
    """The text of a kept sample: its words run together, or its numbers one by one."""
    tokens = panel.values[place][counted(record, panel, place)]
    words = [word(record, token) for token in tokens[:most]]
    cut = " …" if len(tokens) > most else ""
    if any(each.startswith(" ") for each in record.words.values()):
        return "".join(words).strip() + cut
    return " ".join(words).replace(" ##", "") + cut


def positions(record: SampleRecord, answer: Answer, place: int) -> list[Position]:
    """The positions of a kept sample that count, with both networks' likeliest tokens."""
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    length = len(arrays["counts"])
    named = [p for p in texts(record) if p.values.shape[1] == length]
    own = next((p for p in named if p.name == getattr(answer.judge, "ids", "")), None)
    panel = own or next(iter(named), None)

    def said(token: int) -> str:
        # of a tagger the names of the data are those of its outputs
        known = answer is record.answers[0]
        name = class_name(record, int(token)) if known else str(int(token))
        return word(record, token) if answer.worded else name

    return [
        Position(
            at,
            str(at) if panel is None else word(record, panel.values[place][at]),
            (said(arrays["float"][at]), said(arrays["quantized"][at])),
            (float(arrays["float_p"][at]), float(arrays["quantized_p"][at])),
            max(0.0, float(arrays["divergence"][at])),
            bool(arrays["float"][at] != arrays["quantized"][at]),
        )
        for at in np.flatnonzero(arrays["counts"]).tolist()
    ]


def change_words(found: Sequence[Position]) -> str:
    """Where the likeliest token changes first, and at how many positions it does."""
    changed = [each for each in found if each.changed]
    if not changed:
        return f"Both networks rank the same token first at all {len(found):,} positions."
    first = changed[0]
    floats, quantized = (
        f"{tidy(said)!r} ({100 * share:.1f} %)"
        for said, share in zip(first.first, first.shares, strict=True)
    )
    return (
        f"The likeliest token changes at {len(changed):,} of {len(found):,} positions, first at "
        f"position {first.place}, {tidy(first.token)!r}: float says {floats}, quantized "
        f"{quantized}."
    )


def positions_frame(found: Sequence[Position]) -> pd.DataFrame:
    """One row a position."""
    return pd.DataFrame(
        [
            {
                "Position": each.place,
                "Token": each.token,
                "Float says": each.first[0],
                "Float, %": 100 * each.shares[0],
                "Quantized says": each.first[1],
                "Quantized, %": 100 * each.shares[1],
                "KL, nats": each.divergence,
                "Changed": each.changed,
            }
            for each in found
        ]
    )


def neighbour_words(answer: Answer, place: int) -> str:
    """Whether the nearest neighbour stayed, and how many of the nearest did."""
    floats, quantized = answer.arrays["float"][place], answer.arrays["quantized"][place]
    if not len(floats):
        return "There is no other sample to be near to."
    same = len(set(floats.tolist()) & set(quantized.tolist()))
    stayed = floats[0] == quantized[0]
    return (
        f"Its nearest neighbour {'is the same' if stayed else 'changes'}; {same} of the "
        f"{len(floats)} nearest are the same in both networks. The cosine of its own two vectors "
        f"is {float(answer.arrays['cosine'][place]):.4f}."
    )


def neighbours_frame(record: SampleRecord, answer: Answer, place: int) -> pd.DataFrame:
    """Nearest others of a kept sample in both networks, nearest first."""
    rows = []
    pairs = zip(answer.arrays["float"][place], answer.arrays["quantized"][place], strict=True)
    for rank, pair in enumerate(pairs):
        row: dict[str, object] = {"Rank": rank + 1}
        for name, title, other in zip(
            ("float", "quantized"), ("Float", "Quantized"), pair, strict=True
        ):
            row[f"{title}: sample"] = int(other)
            row[f"{title}: cosine"] = float(answer.arrays[f"{name}_cosine"][place][rank])
            row[f"{title}: what it is"] = about(record, int(other))
        rows.append(row)
    return pd.DataFrame(rows)


def about(record: SampleRecord, number: int) -> str:
    """Another sample in a few words: its class and the beginning of its text, where it is kept."""
    found = np.flatnonzero(record.numbers == number)
    if not len(found):
        return ""
    place = int(found[0])
    parts = []
    parts += [label_name(record, place)] if record.labels is not None else []
    parts += [sentence(record, panel, place, SNIPPET) for panel in texts(record)[:1]]
    return ": ".join(parts)
