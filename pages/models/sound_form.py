"""The part of the form that says how sounds become a network's input."""

import streamlit as st

from qcore.models.sound import KEYWORDS, Sound, parse_sound

FEATURES = {
    "": "as its input suggests",
    "waveform": "samples of the sound",
    "logmel": "log-mel bands",
    "mfcc": "MFCCs",
    "keywords": "MFCCs of MLPerf Tiny's keyword spotting",
}
"""What a network may be given of a sound; keys as in `parse_sound`."""


def sound_input(key: str) -> Sound | None:
    """Let the reader say what a network is given of sounds; None says nothing.

    Args:
        key: Begins the keys of its fields.

    Raises:
        InvalidParams: a setting that is no setting, or cannot be.
    """
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    chosen = left.selectbox(
        "Given of a sound",
        list(FEATURES),
        format_func=FEATURES.__getitem__,
        key=f"{key}-sound",
        help="Features are made from the files while reading.",
    )
    rate = middle.number_input(
        "Rate, Hz",
        min_value=1,
        value=KEYWORDS.rate,
        step=1000,
        key=f"{key}-sound-rate",
        disabled=not chosen,
        help="That it was trained with.",
    )
    resample = right.toggle(
        "Resample files of other rates",
        key=f"{key}-sound-resample",
        disabled=not chosen,
        help="Otherwise they are refused, with both rates.",
    )
    further = st.text_input(
        "Further settings of sounds (optional)",
        key=f"{key}-sound-settings",
        placeholder="bands=64:coefficients=13:window=25:step=10:low=20:high=8000",
        disabled=chosen in ("", "waveform", "keywords"),
    )
    if not chosen:
        return None
    words = chosen if chosen == "keywords" else f"features={chosen}"
    words += f":rate={int(rate)}:resample={'true' if resample else 'false'}"
    return parse_sound(words + (f":{further.strip()}" if further.strip() else ""))
