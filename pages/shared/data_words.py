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


def _beside(name: str) -> bool:
    """True for an input that says something about a text's tokens and takes none."""
    return any(part in name.lower() for part in ("mask", "type", "segment", "position"))


def data_note(kind: str, inputs: Sequence[Input] = (), judge: Judge | None = None) -> str:
    """What a kind of data holds, in a sentence or two.

    Args:
        kind: Key of DATASETS.
        inputs: What the network takes where that is no image.
        judge: How its answers are compared; says what labels are.
    """
    ids = [each.name for each in inputs if (each.high or 0) > 2 and not _beside(each.name)]
    if kind == "texts" and len(ids) > 1:
        return (
            f"A .jsonl or .parquet with a field for each text that it takes ({', '.join(ids)}): "
            "text for input_ids, target for decoder_input_ids, query for query_ids and so on; cut "
            "into tokens by the tokenizer.json beside it, or by the network's."
        )
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
