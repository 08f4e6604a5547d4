"""The picture on its pages: there, and a change in it is a step of the Workbench."""

import pytest

from pages.network.view import Change
from pages.workbench.draft import Row
from pages.workbench.graph import changed
from qcore.allocation import LayerBits
from tests.pages import sample


@pytest.mark.parametrize(
    ("page", "editable"), [("models", False), ("workbench", True), ("explore", False)]
)
def test_each_page_draws_the_network_once(app, filled, monkeypatch, page, editable):
    drawn = []
    monkeypatch.setattr(
        "pages.network.view.drawn_network", lambda payload, *rest: drawn.append(payload)
    )
    app(page, model="resnet8", **({"bits": "8.f"} if editable else {}))
    (payload,) = drawn
    assert payload["id"] == sample.MODEL.digest
    assert payload["editable"] is editable
    assert payload["damage"] == "Predicted damage (kl)"
    # the Workbench has bits of its own; elsewhere the page's browser side tells them
    bits = {"weight": [8] * 10, "activation": [32] * 10}
    assert payload["bits"] == (bits if editable else None)


def test_a_change_in_the_picture_changes_that_layer_alone():
    from pages.workbench.bench import first_draft

    before = first_draft(sample.MODEL)
    after = changed(before, Change(3, LayerBits(4, 8), locked=True))
    assert after.rows[3] == Row(4, 8, True)
    assert after.rows[:3] + after.rows[4:] == before.rows[:3] + before.rows[4:]
    assert after.start == before.start
