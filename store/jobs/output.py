"""What commands say on their standard output, which whoever reads it may close before they end."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress

CLOSED = 141
"""Exit code of a program whose reader went away: as if the system had ended it by SIGPIPE."""

REFUSED = 2


def say(line: str) -> None:
    """Write one line to standard output.

    Raises:
        SystemExit: nobody reads it any more.
        OSError: it cannot be written for another reason.
    """
    try:
        # a path may hold bytes that are no letters
        sys.stdout.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stdout.flush()
    except OSError as error:
        _to_nobody()
        if isinstance(error, BrokenPipeError):
            raise SystemExit(CLOSED) from None
        raise


def say_if_heard(line: str) -> None:
    """Write one line; where nobody reads it any more, what the command does goes on."""
    with suppress(SystemExit):
        say(line)


def ended_quietly(command: Callable[[], int]) -> int:
    """Run a command whose output may be closed at any time; returns its exit code.

    Raises:
        SystemExit: the command asked for it.
    """
    if sys.stdout is None:  # it was closed before the program began
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
    try:
        try:
            return command()
        finally:  # what argparse wrote of its own waits still
            sys.stdout.flush()
    except BrokenPipeError:
        _to_nobody()
        return CLOSED
    except OSError as error:
        _to_nobody()
        sys.stderr.write(f"The output cannot be written: {error.strerror or error}.\n")
        return REFUSED


def _to_nobody() -> None:
    """Let nothing that waits to be written fail once more."""
    # a double of a stream has no file behind it
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
