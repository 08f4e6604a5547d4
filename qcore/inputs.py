"""What a network takes besides images: named inputs with their shapes and kinds of numbers.

Torch-free. A network of images has none of these: its one input is described by its preprocessing.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qcore.errors import InvalidParams

DTYPES = ("float32", "int64", "int32", "bool")
MOST_INPUTS = 32
MOST_VALUES = 2**26
"""Numbers in one sample of one input, at most."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a network.

    Attributes:
        name: As the network's forward pass, or its file, calls it; a column of the data.
        shape: Of one sample, without the batch; () is one number.
        dtype: One of DTYPES, as the network takes it.
        high: Ids run from 0 to high - 1, as in a vocabulary; None where it is no id.
        pad: What short samples are filled up with along their first dimension; None refuses them.
        zeros: Fed with zeros where the data have no column for it, as the state of a recurrent
            network is.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    high: int | None = None
    pad: float | None = None
    zeros: bool = False

    @property
    def words(self) -> str:
        """It in a few words, as "ids (128,) int64 below 30,522"."""
        ids = f" below {self.high:,}" if self.high else ""
        return f"{self.name} {self.shape} {self.dtype}{ids}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `Input.from_json` reads it back."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Input":
        """Read what `to_json` wrote.

        Raises:
            InvalidParams: it cannot be an input; says why.
        """
        try:
            high, pad = data.get("high"), data.get("pad")
            found = cls(
                name=str(data["name"]),
                shape=tuple(int(size) for size in data["shape"]),
                dtype=str(data.get("dtype", "float32")),
                high=None if high is None else int(high),
                pad=None if pad is None else float(pad),
                zeros=bool(data.get("zeros", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidParams(f"The input cannot be read: {error!r}.") from error
        check_inputs((found,))
        return found


def check_inputs(inputs: tuple[Input, ...]) -> None:
    """Raise where inputs are described as none can be.

    Raises:
        InvalidParams: a name twice or empty, an unknown kind of numbers, or sizes out of range.
    """
    names = [each.name for each in inputs]
    if len(inputs) > MOST_INPUTS:
        raise InvalidParams(f"A network has at most {MOST_INPUTS} inputs; got {len(inputs)}.")
    if len(set(names)) != len(names):
        raise InvalidParams(f"Two inputs have one name: {', '.join(names)}. Name each its own.")
    for each in inputs:
        if not each.name.strip() or len(each.name) > 200 or not each.name.isprintable():
            raise InvalidParams(f"An input's name has 1 to 200 characters; got {each.name[:80]!r}.")
        if each.dtype not in DTYPES:
            raise InvalidParams(
                f"Input {each.name!r} is {each.dtype[:40]!r}; known: {', '.join(DTYPES)}."
            )
        values = 1
        for size in each.shape:
            values *= size
        if min(each.shape, default=1) < 1 or not 1 <= values <= MOST_VALUES:
            raise InvalidParams(
                f"Input {each.name!r} has the shape {each.shape}; every size is at least 1, and "
                f"at most {MOST_VALUES:,} numbers make a sample."
            )
        if each.pad is not None and not math.isfinite(each.pad):
            raise InvalidParams(
                f"Input {each.name!r} is padded with {each.pad}; a number is needed, as 0."
            )
        if each.high is not None and each.high < 1:
            raise InvalidParams(f"Input {each.name!r} has {each.high} ids; at least 1 is needed.")


def names_mask(name: str) -> bool:
    """True for the name of a mask that says what counts; a padding mask says what does not."""
    return "mask" in name.lower() and "pad" not in name.lower()


def parse_input(words: str) -> Input:
    """Read "name:dtype:sizes" with "<ids" and "=pad" behind it.

    Example:
        >>> parse_input("ids:int64:128<30522=0").words
        'ids (128,) int64 below 30,522'
        >>> parse_input("features:float32:1x49x10").shape
        (1, 49, 10)
        >>> parse_input("state:float32:2x128=zeros").zeros
        True

    Raises:
        InvalidParams: it is written otherwise.
    """
    rest, _, filled = words.partition("=")
    rest, _, ids = rest.partition("<")
    name, _, kinds = rest.partition(":")
    dtype, _, sizes = kinds.partition(":")
    text = sizes.strip().lower().replace("\u00d7", "x").replace(",", "x")
    numbers = [part.strip() for part in text.split("x") if part.strip()]
    try:
        found = Input(
            name.strip(),
            tuple(int(n) for n in numbers),
            dtype.strip() or "float32",
            int(ids) if ids.strip() else None,
            float(filled) if filled.strip() and filled.strip() != "zeros" else None,
            filled.strip() == "zeros",
        )
    except ValueError:
        raise InvalidParams(
            f"Write an input as name:dtype:sizes, like ids:int64:128<30522=0 (128 ids below "
            f"30,522, padded with 0) or features:float32:1x49x10; got {words[:80]!r}."
        ) from None
    check_inputs((found,))
    return found
