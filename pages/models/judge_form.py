"""The choice of how a network's answers are compared, with the settings of each judge."""

from dataclasses import fields
from typing import Any

import streamlit as st

from pages.shared.judged import first_large
from pages.shared.text import literal
from qcore.judges import JUDGES, Judge
from qcore.judges.embedding import POOLS
from qcore.judges.map import SCORES as MAP_SCORES
from qcore.judges.map import SIZES
from qcore.judges.parts import Parts
from qcore.judges.signal import SCORES as SIGNAL_SCORES

PROPOSED = ""
"""Choice that leaves it to the network's outputs."""

OPTIONS = {
    ("embedding", "pool"): POOLS,
    ("map", "measure"): MAP_SCORES,
    ("map", "targets"): SIZES,
    ("signal", "measure"): SIGNAL_SCORES,
}
"""Settings that are one of a few words."""

TITLES = {
    "mean": "mean of the positions",
    "first": "the first position",
    "iou": "IoU of the classes",
    "pixels": "places that agree",
    "same": "as large as the network's map",
    "nearest": "any size, by the nearest place",
    "psnr": "PSNR",
    "auc": "AUC of anomalies",
}
"""What such a word means."""

LABELS = {
    "ids": "Input of token ids",
    "mask": "Input of the mask",
    "probabilities": "Ends in a softmax or sigmoid",
    "binary": "A yes or no each",
    "measure": "Score",
    "targets": "Size of label maps",
    "pool": "Vector of a sample",
    "rebuilds": "Input that is rebuilt",
    "peak": "Largest true value",
}
"""What a setting is called here; others by their names."""

HELP = {
    "output": "Name of the output that is looked at, or its number from 0. Empty: the only one.",
    "mask": "Name of the input that says which positions count (1) and which pad (0).",
    "probabilities": "The network ends in a softmax or sigmoid already.",
    "ids": "Name of the input of token ids whose next ones are the labels of a causal model.",
    "pool": "How positions become one vector: their mean, or the first.",
    "binary": "Each number is its own yes or no, a sigmoid.",
    "measure": "What the score is.",
    "targets": "Label maps of another size than the network's are refused, or each place of the "
    "network's map has the label at its centre.",
    "peak": "Largest value of a true signal, for the PSNR.",
    "rebuilds": "Name of the input that an autoencoder rebuilds. Empty where it has one only.",
}
"""What a setting is."""


def judge_input(key: str, now: Judge | None = None) -> Judge | None:
    """Draw the choice of a judge with its settings.

    Args:
        key: Begins the keys of the widgets.
        now: The judge in use; None offers the one that the outputs suggest.

    Returns:
        The judge; None for the one that the outputs suggest.

    Raises:
        InvalidParams: a setting cannot be; says what it may be.
    """
    names = [*([PROPOSED] if now is None else []), *JUDGES]
    if not isinstance(now, Parts):
        # several outputs are proposed with their parts; nobody writes those by hand
        names.remove(Parts.name)
    chosen = str(
        st.selectbox(
            "How its answers are compared",
            names,
            index=0 if now is None else names.index(now.name),
            format_func=lambda name: JUDGES[name].title if name else "as its outputs suggest",
            key=f"{key}-judge",
            help="The judge: what searches keep close to the float network, and what scores are.",
        )
    )
    if not chosen:
        return None
    kind = JUDGES[chosen]
    st.caption(f"{kind.about} Labels: {kind.labels}.")
    start = now if now is not None and now.name == chosen else None
    if isinstance(start, Parts):
        return _parts(start, key)
    return _settings(chosen, start, key)


def _settings(chosen: str, start: Judge | None, key: str, output: str | None = None) -> Judge:
    """A judge with the settings that the reader gives it.

    Args:
        chosen: Key of JUDGES.
        start: Of that kind, whose settings are offered; None offers the usual ones.
        key: Begins the keys of the widgets.
        output: The output that it looks at, where that is not to be chosen.
    """
    kind = JUDGES[chosen]
    settings = {
        each.name: _setting(chosen, each.name, getattr(start, each.name, each.default), key)
        for each in fields(kind)
        if output is None or each.name != "output"
    }
    judge = kind(**(settings if output is None else {**settings, "output": output}))
    judge.check()
    return judge


def _setting(judge: str, name: str, value: Any, key: str) -> Any:
    label, about = LABELS.get(name, first_large(name)), HELP.get(name)
    here = f"{key}-{judge}-{name}"
    options = OPTIONS.get((judge, name))
    if options is not None:
        return st.selectbox(
            label,
            options,
            index=options.index(value),
            format_func=lambda word: TITLES.get(word, word),
            key=here,
            help=about,
        )
    if isinstance(value, bool):
        return st.checkbox(label, value, key=here, help=about)
    if isinstance(value, float):
        return float(st.number_input(label, value=value, key=here, help=about))
    return str(st.text_input(label, value, key=here, help=about, max_chars=200)).strip()


def _parts(now: Parts, key: str) -> Parts:
    """Parts with other judges and weights: how each output is compared, and how much it counts."""
    parts, weights = [], []
    names = [name for name in JUDGES if name != Parts.name]
    for number, (part, weight) in enumerate(zip(now.parts, now.weights, strict=True)):
        output, here = literal(part.output or str(number), 60), f"{key}-part-{number}"
        chosen = str(
            st.selectbox(
                f"Output {output} is compared by",
                names,
                index=names.index(part.name),
                format_func=lambda name: JUDGES[name].title,
                key=here,
            )
        )
        start = part if part.name == chosen else None
        parts.append(_settings(chosen, start, here, part.output))
        weights.append(
            float(
                st.number_input(
                    f"Weight of output {output} ({parts[-1].divergence_name})",
                    min_value=0.0,
                    value=float(weight),
                    key=f"{key}-weight-{number}",
                )
            )
        )
    judge = Parts(parts=tuple(parts), weights=tuple(weights))
    judge.check()
    return judge
