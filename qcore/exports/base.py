"""The record every export is listed by in EXPORTS."""

from collections.abc import Callable
from dataclasses import dataclass

from qcore.config import BitConfig


@dataclass(frozen=True, slots=True)
class Export:
    """One file format.

    Attributes:
        name: Key in EXPORTS.
        title: What the button says.
        suffix: End of the file name, with its dots.
        mime: Media type of the download.
        render: Configuration -> bytes of the file.
    """

    name: str
    title: str
    suffix: str
    mime: str
    render: Callable[[BitConfig], bytes]
