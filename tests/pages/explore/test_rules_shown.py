"""Device rules on Explore: those of runs, of predictions, and those that a search takes along."""

from urllib.parse import parse_qs

import pytest

from pages.shared.held import held_of_text
from pages.shared.text import literal
from qcore.rules.file import parse_rules
from qcore.rules.rule import Rule
from store.runs.queue import finish
from tests.pages import sample
from tests.pages.test_explore import chart

RULES = (
    Rule("conv1", lock=(8, None)),
    Rule("layer1*", weights=(4, 8)),
    Rule("layer2*", tie="weights"),
)


@pytest.fixture
def ruled(filled):
    """Two searches more, of which one had rules."""
    bits = dict.fromkeys(sample.MODEL.names, 4) | {"conv1": 8}
    kept = sample.BitAllocation({n: sample.LayerBits(b) for n, b in bits.items()})
    finish(filled, *sample.add_run(filled, "exact", [sample.point(kept, 900)], rules=RULES), "done")
    return filled


def lines(at):
    return "\n".join(each.value for each in (*at.markdown, *at.caption, *at.error))


def test_explore_says_which_runs_had_which_rules_and_sets_them_on_the_layers(app, ruled):
    at = app()
    assert f"**Run 4**: {literal('conv1: weights locked at 8 | layer1*: weights 4 or 8')}" in lines(
        at
    )
    assert "Without rules: runs 1, 2 and 3" in lines(at)
    at.button(key="hold-0").click().run()
    assert not at.exception
    held = held_of_text(str(at.query_params["held"]), sample.MODEL)
    assert held.allowed()["conv1", "weight"] == (8,)
    (link,) = [p.proto for p in at.get("page_link") if "rules of a search" in p.proto.label]
    text = parse_qs(link.query_string)["rules"][0]
    names = ", ".join(name for name in sample.MODEL.names if name.startswith("layer2"))
    assert parse_rules(text) == (
        Rule("conv1", lock=(8, None)),
        Rule("layer1.0.conv1, layer1.0.conv2", weights=(4, 8)),
        Rule(names, tie="weights"),
    )


def test_without_rules_nothing_is_said_of_them(app, filled):
    at = app()
    assert "Without rules" not in lines(at)
    assert not [each for each in at.button if (each.key or "").startswith("hold-")]


def predicted(app):
    return app(ui="basic", src="predicted")


def test_the_native_prediction_keeps_the_rules_that_are_written(app, filled):
    at = predicted(app)
    words = "rules: [{layers: conv1, lock: 2}, {layers: 'layer2*', tie: weights}]"
    at.text_area(key="predicted-rules-text").set_value(words).run()
    assert not at.exception
    drawn = chart(at, "heatmap")["data"][0]
    digits = dict(zip(sample.MODEL.names, drawn["text"][0], strict=True))
    assert digits["conv1"] == "2"
    assert len({bits for name, bits in digits.items() if name.startswith("layer2")}) == 1


def test_rules_that_cannot_be_predict_nothing_and_say_why(app, filled):
    at = predicted(app)
    at.text_area(key="predicted-rules-text").set_value("[{layers: nobody, lock: 2}]").run()
    assert "Nothing is predicted: Rule 1" in lines(at)
    assert not at.get("plotly_chart")
    # 5 bits are no width that this sensitivity was computed for
    at.text_area(key="predicted-rules-text").set_value("[{layers: conv1, lock: 5}]").run()
    assert "no width that this sensitivity has" in lines(at)
