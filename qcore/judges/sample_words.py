"""What the samples of a kind of data are called, in sentences. Torch-free."""

_WORDS = {
    "texts": "texts",
    "sounds": "sounds",
    "pairs": "pairs",
    "tensors": "samples",
    "vibrations": "samples",
}
"""Kinds of data that hold no images, or that may hold anything."""


def samples_word(data: str) -> str:
    """What the samples of some data are called, several of them.

    Args:
        data: A data name, as `load_data` takes it.

    Example:
        >>> samples_word("texts:/data/reviews.jsonl"), samples_word("fashion-mnist")
        ('texts', 'images')
    """
    return _WORDS.get(data.partition(":")[0].partition(",")[0], "images")
