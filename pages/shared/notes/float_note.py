"""A float network that is hardly better than guessing: said, and asked about before a search."""

import streamlit as st

from pages.shared import session, text
from pages.shared.judged import words_for
from qcore.allocation import ModelSpec
from qcore.float_check import far_off
from qcore.models.catalog import judge_of
from store import Store


def float_note(store: Store, model: ModelSpec | None, images: str) -> str:
    """What is wrong with a network's float accuracy on some images; "" where nothing is known.

    Args:
        store: The database.
        model: The network, where its layers are known.
        images: Name of the images, as `RunSpec.images` gives it.
    """
    if model is None:
        return ""
    search, test = session.float_scores(store, model.name, images)
    words = words_for(judge_of(model.name), model=model)
    return words.text(far_off(test or search, model.classes))


def warn(words: str) -> None:
    """Show such a note, where there is one."""
    if words:
        st.warning(text.literal(words), icon=":material/warning:")


def confirmed(words: str, key: str) -> bool:
    """Ask whether such a network is to be searched all the same.

    Args:
        words: The note; nothing is asked where it is "".
        key: Key of the box.

    Returns:
        True where the box is ticked.
    """
    if not words:
        return False
    warn(words)
    return st.checkbox("Search it anyway", key=key)
