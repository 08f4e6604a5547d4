"""Files that cannot be used: a few are left out and named, more are refused with their list."""

from dataclasses import dataclass, field

from qcore.errors import InvalidData

SHARE = 0.01
"""Of the files to be read, how many may be unusable; one always may, where others are left."""

MOST_NAMED = 20
MOST_LISTED = 200


@dataclass
class Skipped:
    """The files left out so far while one data set is read.

    Attributes:
        total: Files to be read.
        reasons: A sentence for each file left out; it names the file.
    """

    total: int
    reasons: list[str] = field(default_factory=list)

    @property
    def allowed(self) -> int:
        """How many files may be left out."""
        return max(1, int(SHARE * self.total)) if self.total > 1 else 0

    @property
    def too_many(self) -> bool:
        """Whether more than that were."""
        return len(self.reasons) > self.allowed

    def refuse(self) -> InvalidData:
        """Why so many cannot be left out, with their names."""
        if len(self.reasons) == 1:
            return InvalidData(self.reasons[0])
        return InvalidData(
            f"{len(self.reasons)} files cannot be used, and of the {self.total:,} to be read at "
            f"most {self.allowed} may be left out ({SHARE:.0%}, at least one). {self._named()}"
        )

    def note(self) -> str:
        """What was left out, or "" where nothing was."""
        if not self.reasons:
            return ""
        return (
            f"{len(self.reasons)} of {self.total:,} files cannot be used and were left out "
            f"({SHARE:.0%} may be, at least one). {self._named()}"
        )

    def _named(self) -> str:
        words = " ".join(self.reasons[:MOST_NAMED])
        more = len(self.reasons) - MOST_NAMED
        return words if more <= 0 else f"{words} And {more} more."
