"""Draws one sample: what it is, what both networks answer, and how the answers differ."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
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

Draw = Callable[[SampleRecord, Answer, int, str], None]


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
    judge = record.judge
    st.markdown(_told(record, number))
    if len(record.answers) == 1 and not texts_only(record):
        left, right = st.columns([1, 2])
        with left:
            _inputs(record, place, key)
        with right:
            _answer(record, record.answers[0], place, key)
    else:
        _inputs(record, place, key)
        for at, answer in enumerate(record.answers):
            if len(record.answers) > 1:
                name = text.literal(answer.judge.output or str(at))
                st.markdown(
                    f"**Output {name}**, weight {answer.weight:g}: "
                    f"{answer.judge.divergence_name} {answer.divergence[place]:.4g} "
                    f"{answer.judge.unit}"
                )
            _answer(record, answer, place, f"{key}-{at}")
    if judge.name == "parts":
        st.caption("The outputs' divergences times their weights add up to the sample's.")


def texts_only(record: SampleRecord) -> bool:
    """True where the sample is a text, which is drawn over the whole width."""
    return bool(record.inputs) and all(panel.form == "ids" for panel in record.inputs)


def _told(record: SampleRecord, number: int) -> str:
    judge, values = record.judge, record.divergence
    above = int((values > values[number]).sum())
    rank = "no sample has more" if not above else f"{text.counted(above, 'sample')} more than that"
    label = ""
    if record.labels is not None:
        name = reading.class_name(record, int(record.labels[record.place(number)]))
        label = f", labelled {text.literal(name)}"
    return (
        f"**Sample {number:,}**{label}: {judge.divergence_name} {values[number]:.4g} {judge.unit}; "
        f"{rank}, the mean of {len(values):,} is {values.mean():.4g}."
    )


def _inputs(record: SampleRecord, place: int, key: str) -> None:
    spoken = reading.texts(record)
    for at, panel in enumerate(record.inputs):
        name = panel.name or "input"
        if panel.form == "ids":
            if panel in spoken:
                st.caption(text.literal(name))
                st.text(reading.sentence(record, panel, place))
            continue
        st.caption(f"{text.literal(name)}{_sizes(panel)}")
        if panel.form == "curves":
            values = panel.values[place]
            channel = _plane(values, f"{key}-in-{at}", "Channel")
            figure = curves_figure({name: values}, channel)
        else:
            values = panel.values[place]
            if is_picture(values):
                figure = picture_figure(values)
            else:
                plane = values[_plane(values, f"{key}-in-{at}", "Plane")]
                figure = number_figure(plane, float(plane.min()), float(plane.max()), name)
        st.plotly_chart(
            figure,
            key=f"{key}-in-{at}-chart",
            config=CHART,
            alt="The sample as the network got it.",
        )


def _sizes(panel: Panel) -> str:
    shown = panel.values.shape[2:]
    whole = tuple(size for size in panel.whole if size > 1)
    if int(np.prod(panel.values.shape[1:])) == int(np.prod(panel.whole)):
        return ""
    sizes = " x ".join(map(str, shown))
    return f", {sizes} places shown of {' x '.join(map(str, whole))}"


def _plane(values: np.ndarray, key: str, what: str) -> int:
    if len(values) < 2:
        return 0
    chosen = st.segmented_control(
        what, list(range(len(values))), default=0, required=True, key=f"{key}-{what}"
    )
    return int(chosen or 0)


def _answer(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    draw = DRAWN.get(answer.judge.name)
    if draw is None or not answer.arrays:
        st.caption("There is no picture of this judge's answers.")
        return
    draw(record, answer, place, key)


def _classes(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    label = None if record.labels is None else int(record.labels[place])
    lead = answer is record.answers[0]
    names = [
        reading.class_name(record, int(number)) + (" (label)" if lead and number == label else "")
        for number in arrays["classes"]
    ]
    said = [names[int(np.argmax(arrays[who]))] for who in ("float", "quantized")]
    words = "Both name" if said[0] == said[1] else "The two name different classes: float"
    second = "" if said[0] == said[1] else f", quantized {text.literal(said[1])}"
    st.markdown(f"{words} {text.literal(said[0])}{second}.")
    st.plotly_chart(
        class_bars(names, arrays["float"].tolist(), arrays["quantized"].tolist()),
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


def _map(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    at = _plane(arrays["float"], key, "Plane")
    binary = bool(getattr(answer.judge, "binary", False))
    titles = {"float": "Float", "quantized": "Quantized", "true": "True"}
    shown = [name for name in titles if name in arrays]
    for column, name in zip(st.columns(len(shown) + 1), [*shown, "divergence"], strict=True):
        plane = arrays[name][at]
        if name == "divergence":
            caption = f"Difference: mean {plane.mean():.4g} nats a place"
            figure = number_figure(plane, 0.0, float(plane.max()) or 1.0, "divergence, nats")
        elif binary:
            caption = f"{titles[name]}: probability of yes"
            figure = number_figure(plane, 0.0, 1.0, "probability")
        else:
            caption = f"{titles[name]}: class at each place"
            figure = class_figure(plane.astype(int), record.class_names)
        with column:
            st.caption(caption)
            st.plotly_chart(figure, key=f"{key}-{name}", config=CHART, alt=f"{caption}.")


def _signal(record: SampleRecord, answer: Answer, place: int, key: str) -> None:
    arrays = {name: values[place] for name, values in answer.arrays.items()}
    change = arrays["quantized"] - arrays["float"]
    if answer.form == "curves":
        channel = _plane(arrays["float"], key, "Channel")
        order: list[str] = [name for name in ("true", "float", "quantized") if name in arrays]
        for name, curves in (
            ("curves", {name: arrays[name] for name in order}),
            ("change", {"difference": change}),
        ):
            st.plotly_chart(
                curves_figure(curves, channel),
                key=f"{key}-{name}",
                config=CHART,
                alt="The signals over one another." if name == "curves" else "Their difference.",
            )
        return
    picture = is_picture(arrays["float"])
    at = 0 if picture else _plane(arrays["float"], key, "Plane")
    low, high = float(arrays["float"][at].min()), float(arrays["float"][at].max())
    titles = {"float": "Float", "quantized": "Quantized", "true": "True"}
    shown = [name for name in titles if name in arrays]
    for column, name in zip(st.columns(len(shown) + 1), [*shown, "change"], strict=True):
        if name == "change":
            caption = "Difference, quantized less float" + (
                ", mean of the colours" if picture else ""
            )
            figure = change_figure(change.mean(0) if picture else change[at], "difference")
        else:
            caption = titles[name]
            values = arrays[name]
            figure = (
                picture_figure(values) if picture else number_figure(values[at], low, high, "value")
            )
        with column:
            st.caption(caption)
            st.plotly_chart(figure, key=f"{key}-{name}", config=CHART, alt=f"{caption}.")


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


DRAWN: Mapping[str, Draw] = MappingProxyType(
    {
        "classes": _classes,
        "tokens": _tokens,
        "map": _map,
        "signal": _signal,
        "embedding": _embedding,
    }
)
"""Name of a judge to what draws its answer."""
