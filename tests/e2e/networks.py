"""Networks that only a test would think of: 1,002 layers, and names that are code."""

from pathlib import Path

import pytest

from qcore.models.cards import Card, write_card
from qcore.models.preprocessing import Preprocessing
from tests.pages.network.chains import model_of, residual

EVIL = '<img src=x onerror="window.hacked=1">'
DEEP = residual(500)
ODD = model_of({EVIL: (), "n" * 400: (EVIL,), "${window.hacked=1}": ("n" * 400,)})


def fill(data: Path) -> None:
    """Put both, as "deep" and "odd", among the networks of a data folder."""
    steps = Preprocessing(1, 28, 28, mean=(0.5,), std=(0.3,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(data))
        for name, spec in (("deep", DEEP), ("odd", ODD)):
            write_card(Card(name, name, "onnx", "onnx2torch", (1, 28, 28), 10, steps), None, spec)
