"""Files that cannot be used: a few are left out and named, more are refused with their list."""

from dataclasses import dataclass, field

from qcore.errors import InvalidData

SHARE = 0.01
"""Of the files to be read, how many may be unusable; one always may, where others are left."""

MOST_NAMED = 20
MOST_LISTED = 200

_RULE = f"{100 * SHARE:.0f} %, at least one"


@dataclass
class Skipped:
    """The files left out so far while one data set is read.

    Attributes:
        total: Files to be read.
        reasons: Name of each file left out, and the sentence that says why and names it.
    """

    total: int
    reasons: list[tuple[str, str]] = field(default_factory=list)

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
            return InvalidData(self.reasons[0][1])
        return InvalidData(
            f"{len(self.reasons)} files cannot be used, and of the {self.total:,} to be read at "
            f"most {self.allowed} may be left out ({_RULE}). {self._named()}"
        )

    def note(self) -> str:
        """What was left out, or "" where nothing was."""
        if not self.reasons:
            return ""
        return (
            f"{len(self.reasons)} of {self.total:,} files cannot be used and were left out "
            f"({_RULE}, may be). {self._named()}"
        )

    def _named(self) -> str:
        """Each reason once, with the files it holds for."""
        by_reason: dict[str, list[tuple[str, str]]] = {}
        for name, words in self.reasons[:MOST_NAMED]:
            by_reason.setdefault(words.replace(name, ""), []).append((name, words))
        said = []
        for files in by_reason.values():
            others = ", ".join(name for name, _ in files[1:])
            said.append(files[0][1] + (f" The same holds for {others}." if others else ""))
        more = len(self.reasons) - MOST_NAMED
        return " ".join(said) + (f" And {more} more." if more > 0 else "")
