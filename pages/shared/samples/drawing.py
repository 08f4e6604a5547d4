"""Draws one sample: what it is, what both networks answer, and how the answers differ."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.plots.class_bars import class_bars
from pages.plots.sample_curves import curves_figure
from pages.plots.sample_planes import (
    change_figure,
    class_figure,
    is_picture,
    number_figure,
    picture_figure,
)
from pages.plots.style import CHART
from pages.plots.token_bars import token_bars
from pages.shared import text
from pages.shared.samples import reading
from qcore.pictures.record import Answer, Panel, SampleRecord

Item = tuple[str, go.Figure]
"""A caption, and the figure under it."""

SMALL = {**CHART, "displayModeBar": False}
"""Of pictures, which are too small for the chart's buttons."""

Draw = Callable[[SampleRecord, Answer, int, str], None]
TITLES = {"float": "Float", "quantized": "Quantized", "true": "True"}


def draw_sample(record: SampleRecord, number: int, key: str) -> None:
    """Draw one kept sample.

    Args:
        record: What was computed.
        number: Of the sample, one of `record.numbers`.
        key: Of the widgets.

    Raises:
        InvalidData: the sample is not kept.
    """
    place = record.place(number)
    st.markdown(_told(record, number))
    if len(record.answers) > 1 or all(panel.form == "ids" for panel in record.inputs):
        _inputs(record, place, key)
        for at, answer in enumerate(record.answers):
            if len(record.answers) > 1:
                name = text.literal(answer.judge.output or str(at))
                told = reading.amount(answer.judge, float(answer.divergence[place]))
                st.markdown(f"**Output {name}**, weight {answer.weight:g}: {told}")
            _answer(record, answer, place, f"{key}-{at}")
        if len(record.answers) > 1:
            st.caption("The outputs' divergences times their weights add up to the sample's.")
        return
    answer = record.answers[0]
    first = _first_plane(record, place)
    if answer.judge.name in PLANES and answer.form != "curves" and first is not None:
        _row([first, *PLANES[answer.judge.name](answer, place, record.class_names, key)], key)
        return
    left, right = st.columns([1, 2])
    with left:
        _inputs(record, place, key)
    with right:
        _answer(record, answer, place, key)


def _told(record: SampleRecord, number: int) -> str:
    values = record.divergence
    above = int((values > values[number]).sum())
    rank = "no sample has more" if not above else f"{text.counted(above, 'sample')} above it"
    name = reading.label_name(record, record.place(number))
    label = f", labelled {text.literal(name)}" if name else ""
    told = reading.amount(record.judge, float(values[number]))
    return (
        f"**Sample {number:,}**{label}: {told}; {rank}, the mean of {len(values):,} is "
        f"{values.mean():.4g}."
    )


def _first_plane(record: SampleRecord, place: int) -> Item | None:
    """The sample as one picture, where it is one that needs no choice of planes."""
    if len(record.inputs) != 1 or record.inputs[0].form != "planes":
        return None
    panel = record.inputs[0]
    values = panel.values[place]
    if len(values) > 1 and not is_picture(values):
        return None
    caption = f"Input {text.literal(panel.name)}{_sizes(panel)}"
    return caption, _plane_figure(values, 0, panel.name or "input")


def _inputs(record: SampleRecord, place: int, key: str) -> None:
    spoken = reading.texts(record)
    for at, panel in enumerate(record.inputs):
        name, mine = panel.name or "input", f"{key}-in-{at}"
        if panel.form == "ids":
            if panel in spoken:
                st.caption(text.literal(name))
                st.text(reading.sentence(record, panel, place))
            continue
        st.caption(f"{text.literal(name)}{_sizes(panel)}")
        values = panel.values[place]
        if panel.form == "curves":
            figure = curves_figure({name: values}, _chosen(values, mine, "Channel"))
        else:
            plane = 0 if is_picture(values) else _chosen(values, mine, "Plane")
            figure = _plane_figure(values, plane, name)
        st.plotly_chart(
            figure, key=f"{mine}-chart", config=SMALL, alt="The sample as the network got it."
        )


def _sizes(panel: Panel) -> str:
    """Of how many places so many are shown; "" where all are."""
    if int(np.prod(panel.values.shape[1:])) == int(np.prod(panel.whole)):
        return ""
    shown = " x ".join(map(str, panel.values.shape[2:]))
    whole = " x ".join(str(size) for size in panel.whole if size > 1)
    return f", {shown} places shown of {whole}"


def _chosen(values: np.ndarray, key: str, what: str) -> int:
    """Which plane or channel the reader wants to see."""
    if len(values) < 2:
        return 0
    options = list(range(len(values)))
    chosen = st.segmented_control(what, options, default=0, required=True, key=f"{key}-{what}")
    return int(chosen or 0)


def _plane_figure(values: np.ndarray, at: int, what: str) -> go.Figure:
    if is_picture(values):
        return picture_figure(values)
    return number_figure(values[at], float(values[at].min()), float(values[at].max()), what)


def _row(items: Sequence[Item], key: str) -> None:
    """Figures beside one another."""
    columns = st.columns(len(items))
    for at, (column, (caption, figure)) in enumerate(zip(columns, items, strict=True)):
        with column:
            st.caption(caption)
            st.plotly_chart(figure, key=f"{key}-row-{at}", config=SMALL, alt=f"{caption}.")


def _answer(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    name = answer.judge.name
    if not answer.arrays or not (name in DRAWN or name in PLANES):
        st.caption("There is no picture of this judge's answers.")
    elif name in PLANES and answer.form != "curves":
        _row(PLANES[name](answer, place, record.class_names, key), key)
    else:
        DRAWN[name](record, answer, place, key)


def _classes(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    label = None if record.labels is None else int(record.labels[place])
    lead = answer is record.answers[0]
    numbers = [int(number) for number in arrays["classes"]]
    # names in the data are those of the first output's classes
    names = [reading.class_name(record, n) if lead else str(n) for n in numbers]
    said = [text.literal(names[int(np.argmax(arrays[who]))]) for who in ("float", "quantized")]
    if said[0] == said[1]:
        st.markdown(f"Both name {said[0]}.")
    else:
        st.markdown(f"The two name different classes: float {said[0]}, quantized {said[1]}.")
    marked = [
        f"{name} (label)" if lead and number == label else name
        for name, number in zip(names, numbers, strict=True)
    ]
    st.plotly_chart(
        class_bars(marked, arrays["float"].tolist(), arrays["quantized"].tolist()),
        key=f"{key}-classes",
        config=CHART,
        alt="Probability of each class in the float and in the quantized network.",
    )


def _tokens(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    found = reading.positions(record, answer, place)
    st.markdown(text.literal(reading.change_words(found)))
    st.plotly_chart(
        token_bars(found),
        key=f"{key}-tokens",
        config=CHART,
        alt="Divergence at each position; positions whose likeliest token changed stand out.",
    )
    st.dataframe(
        reading.positions_frame(found),
        hide_index=True,
        column_config={
            "Float, %": st.column_config.NumberColumn(format="%.1f"),
            "Quantized, %": st.column_config.NumberColumn(format="%.1f"),
            "KL, nats": st.column_config.NumberColumn(format="%.4g"),
        },
        alt="Each position with both networks' likeliest token.",
    )


def _embedding(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    st.markdown(reading.neighbour_words(answer, place))
    st.dataframe(
        reading.neighbours_frame(record, answer, place),
        hide_index=True,
        column_config={
            f"{who}: cosine": st.column_config.NumberColumn(format="%.4f")
            for who in ("Float", "Quantized")
        },
        alt="The nearest other samples in both networks, with the cosine of their vectors.",
    )


def _curves(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    if getattr(answer.judge, "measure", "") == "auc":
        # what an autoencoder rebuilds lies under what it gives
        for panel in record.inputs:
            if panel.values.shape == answer.arrays["float"].shape:
                arrays["input"] = panel.values[place]
    channel = _chosen(arrays["float"], key, "Channel")
    order: list[str] = [name for name in ("input", "true", "float", "quantized") if name in arrays]
    change = arrays["quantized"] - arrays["float"]
    for name, curves, alt in (
        ("curves", {each: arrays[each] for each in order}, "The signals over one another."),
        ("change", {"difference": change}, "The quantized signal less the float one."),
    ):
        figure = curves_figure(curves, channel)
        st.plotly_chart(figure, key=f"{key}-{name}", config=CHART, alt=alt)


def _map_planes(answer: Answer, place: int, names: Sequence[str], key: str) -> list[Item]:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    at = _chosen(arrays["float"], key, "Plane")
    binary = bool(getattr(answer.judge, "binary", False))
    items: list[Item] = []
    for name, title in TITLES.items():
        if name not in arrays:
            continue
        plane = arrays[name][at]
        if binary:
            figure = number_figure(plane, 0.0, 1.0, "probability")
            items.append((f"{title}: probability of yes", figure))
        else:
            figure = class_figure(plane.astype(int), names)
            items.append((f"{title}: class at each place", figure))
    apart = arrays["divergence"][at].clip(0)
    figure = number_figure(apart, 0.0, float(apart.max()) or 1.0, "divergence, nats")
    return [*items, ("Difference, nats", figure)]


def _signal_planes(answer: Answer, place: int, names: Sequence[str], key: str) -> list[Item]:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    picture = is_picture(arrays["float"])
    at = 0 if picture else _chosen(arrays["float"], key, "Plane")
    low, high = float(arrays["float"][at].min()), float(arrays["float"][at].max())
    items: list[Item] = []
    for name, title in TITLES.items():
        if name in arrays:
            values = arrays[name]
            plane = number_figure(values[at], low, high, "value")
            items.append((title, picture_figure(values) if picture else plane))
    change = arrays["quantized"] - arrays["float"]
    caption = "Quantized less float" + (", mean colour" if picture else "")
    return [*items, (caption, change_figure(change.mean(0) if picture else change[at], "change"))]


DRAWN: Mapping[str, Draw] = MappingProxyType(
    {"classes": _classes, "tokens": _tokens, "signal": _curves, "embedding": _embedding}
)
"""Name of a judge to what draws its answer."""

PLANES: Mapping[str, Callable[[Answer, int, Sequence[str], str], list[Item]]] = MappingProxyType(
    {"map": _map_planes, "signal": _signal_planes}
)
"""Name of a judge to its answer as pictures, which stand beside the sample."""
