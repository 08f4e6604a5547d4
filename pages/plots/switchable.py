"""What a network that switches precision takes, and what any choice of its bits costs. Pure.

Both are read from the figures that a search sends with its progress: "payload", the bytes of the
network by kind, and "sampled", the scores of random allocations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pages.shared.judged import CLASSIFIER, Words

Figures = Mapping[str, Any]

ROWS = {
    "float": "Float network",
    "one": "At its widest bits alone",
    "all": "Everything it switches to",
}
"""Key in "payload" to the name of its row."""

COLUMNS = {
    "weights": "Weights, bytes",
    "norms": "Batch-norms, bytes",
    "scales": "Scales, bytes",
    "rest": "Left in float, bytes",
    "total": "In all, bytes",
}
"""Kind of bytes to the name of its column."""

NOTE = (
    "What a device must hold. Batch-norms are folded to a scale and a shift, each copy counted. To "
    "switch, weights are the smaller of one float copy and the codes of all widths side by side; "
    "nested codes count once, at their widest."
)


def sizes_frame(kept: Sequence[Figures]) -> pd.DataFrame:
    """Bytes of a switchable network.

    Args:
        kept: Figures of a run, oldest first; the last "payload" counts.

    Returns:
        One row each for the float network, the widest allocation alone and everything the network
        can be switched to; empty where no search sent its payload. Columns: "Network", and those
        of COLUMNS in bytes.
    """
    payloads = [entry["payload"] for entry in kept if "payload" in entry]
    sizes = payloads[-1] if payloads else {}
    rows = [
        {"Network": words, **{title: sizes[key][kind] for kind, title in COLUMNS.items()}}
        for key, words in ROWS.items()
        if key in sizes
    ]
    return pd.DataFrame(rows, columns=["Network", *COLUMNS.values()])


def sampled_words(kept: Sequence[Figures], words: Words = CLASSIFIER) -> str:
    """What random bits of a trained network are worth, in a sentence; "" where none were measured.

    Args:
        kept: Figures of a run.
        words: What the scores are called.
    """
    found = [entry["sampled"] for entry in kept if "sampled" in entry]
    if not found:
        return ""
    mean, fifth, least = (
        words.value(words.factor * found[-1][name])
        for name in ("mean", "fifth_percentile", "minimum")
    )
    return (
        f"{words.title} of random bits, layer by layer, on the search split: {mean} on average, "
        f"{fifth} at the 5th percentile, {least} at worst."
    )
