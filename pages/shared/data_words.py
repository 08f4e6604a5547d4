"""What the forms say of a kind of data: what it holds for a network, and an example. Pure."""

from collections.abc import Sequence

from qcore.inputs import Input
from qcore.judges import Judge
from qcore.models.catalog import DATASETS

IMAGES = ("imagefolder", "images")
"""Kinds that hold images."""

EXAMPLES = {
    "tensors": "/home/me/data.npz",
    "imagefolder": "/home/me/photos, with train/cat/1.jpg",
    "images": "/home/me/photos, with 1.jpg",
    "texts": "/home/me/reviews.jsonl",
    "sounds": "/home/me/words, with yes/1.wav",
    "pairs": "/home/me/streets, with images/1.jpg and masks/1.png",
}
"""Kind to an example of its place."""


def kinds_for(kinds: Sequence[str], inputs: Sequence[Input]) -> list[str]:
    """Kinds of data to offer: those of images last where a network takes none."""
    last = [kind for kind in kinds if inputs and kind in IMAGES]
    return [kind for kind in kinds if kind not in last] + last


def place_words(kind: str) -> tuple[str, str]:
    """(label of the field, example in it) of a kind of data that has a place."""
    return f"{DATASETS[kind].place} on this machine", EXAMPLES.get(kind, f"/home/me/{kind}")


def data_note(kind: str, inputs: Sequence[Input] = (), judge: Judge | None = None) -> str:
    """What a kind of data holds, in a sentence or two.

    Args:
        kind: Key of DATASETS.
        inputs: What the network takes where that is no image.
        judge: How its answers are compared; says what labels are.
    """
    if kind != "tensors" or not inputs:
        return DATASETS[kind].note
    needed = [each.name for each in inputs if not each.zeros]
    labels = ""
    if judge is not None and judge.labels:
        own = " (its own next tokens otherwise)" if judge.own_labels else ""
        labels = f", and with labels in a column y, where there are any: {judge.labels}{own}"
    return (
        f"A .npz, .pt, .safetensors or .parquet file with a column for each input "
        f"({', '.join(needed)}), a row a sample{labels}. Samples of unequal length are padded "
        "where an input says what with, and masks are made of their lengths."
    )
