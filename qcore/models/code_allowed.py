"""Which of the user's code may be run: what the operator named when starting bitdial. Torch-free.

BITDIAL_ALLOW_CODE=mypackage.nets,pt2 streamlit run app.py
"""

import os
import re
from collections.abc import Mapping

from qcore.errors import InvalidParams

VARIABLE = "BITDIAL_ALLOW_CODE"
PT2 = "pt2"
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def allowed(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Modules that may be imported, and "pt2" where such files may be loaded.

    Raises:
        InvalidParams: the variable holds what is no module's name.
    """
    words = (os.environ if env is None else env).get(VARIABLE, "")
    names = tuple(word.strip() for word in words.split(",") if word.strip())
    for name in names:
        if not _MODULE.fullmatch(name):
            raise InvalidParams(
                f"{VARIABLE} holds {name!r}, which is no module's name. Write modules with commas "
                f"between, and {PT2} for .pt2 files; or remove it."
            )
    return names


def check_allowed(what: str, why: str) -> None:
    """Raise unless the operator gave leave.

    Raises:
        InvalidParams: says how leave is given.
    """
    if what not in allowed():
        raise InvalidParams(
            f"{why}, so it needs the operator's leave: start bitdial with {VARIABLE}={what} "
            "(several are separated by commas)."
        )
