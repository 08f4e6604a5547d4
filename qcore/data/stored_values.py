"""What a column of a file may be besides an array. Pure: torch-free."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unusable:
    """A column that cannot be used; said once it is asked for, as others of the file may be fine.

    Attributes:
        why: Goes on after the column's name: "holds string, and numbers are needed; ...".
    """

    why: str
