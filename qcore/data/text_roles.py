"""Which input of a network takes what of a text: ids, masks, token types, positions.

A network may take two texts or more (a question and a passage, what is read and what is written).
Each is then a field of its own, called like the input of its ids, and what else a text fills is
told by names that are most alike.
"""

from dataclasses import dataclass

from qcore.data.tagged.objects import TEXT
from qcore.errors import InvalidData
from qcore.inputs import Input

TARGET = "target"
_ENDS = ("_input_ids", "_token_ids", "_ids", "_tokens")
_USUAL = {"": TEXT, "input": TEXT, "encoder": TEXT, "decoder": TARGET}


@dataclass(frozen=True)
class TextRoles:
    """The inputs that one text fills, all of one length.

    Attributes:
        ids: The one of token ids.
        masks: Those that say which positions count.
        types: Those of token types.
        positions: Those that number the positions.
    """

    ids: Input
    masks: tuple[Input, ...]
    types: tuple[Input, ...]
    positions: tuple[Input, ...]


def field_of(name: str) -> str:
    """The field whose text an input of ids takes.

    Example:
        >>> field_of("input_ids"), field_of("decoder_input_ids"), field_of("query_ids")
        ('text', 'target', 'query')
    """
    end = next((end for end in _ENDS if f"_{name.lower()}".endswith(end)), "")
    base = f"_{name}"[: -len(end) or None].strip("_")
    return _USUAL.get(base.lower(), base)


def text_roles(inputs: tuple[Input, ...]) -> tuple[tuple[TextRoles, ...], tuple[Input, ...]]:
    """Tell inputs apart by their names.

    Returns:
        What each text fills, and the inputs that are fed with zeros.

    Raises:
        InvalidData: there is none of token ids, or another has not the length of its ids.
    """
    sorts: dict[str, list[Input]] = {
        kind: [] for kind in ("mask", "type", "segment", "position", "")
    }
    zeros = []
    for each in inputs:
        kind = next(kind for kind in sorts if kind in each.name.lower())
        if each.zeros and kind in ("", "position"):
            zeros.append(each)
        else:
            sorts[kind].append(each)
    ids = [each for each in sorts[""] if each.dtype.startswith("int") and len(each.shape) == 1]
    if not ids or len(ids) != len(sorts[""]):
        takes = "; ".join(each.words for each in inputs) or "images"
        raise InvalidData(
            f"Texts are for networks that take token ids; this one takes {takes}. Use data of the "
            "kind that it was trained on."
        )
    found = []
    for one in ids:
        own = {
            kind: tuple(each for each in given if _nearest(each, ids) is one)
            for kind, given in sorts.items()
        }
        roles = TextRoles(one, own["mask"], (*own["type"], *own["segment"]), own["position"])
        for each in (*roles.masks, *roles.types, *roles.positions):
            if each.shape != one.shape:
                raise InvalidData(
                    f"Input {each.name!r} has the shape {each.shape}, and the token ids "
                    f"{one.shape}; texts fill inputs of one length."
                )
        found.append(roles)
    return tuple(found), tuple(zeros)


def _nearest(each: Input, ids: list[Input]) -> Input:
    """The ids whose name is most like an input's: by how they begin and how they end."""
    return max(ids, key=lambda one: _alike(one.name, each.name))


def _alike(one: str, other: str) -> int:
    ends = one[::-1], other[::-1]
    return _beginning(one, other) + _beginning(*ends)


def _beginning(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
