"""The guide lists what there is, taken from the code, and links to every page."""

from qcore.costs import COSTS
from qcore.formats.exports import EXPORTS
from qcore.searches import SEARCHES


def test_every_method_cost_and_format_is_in_the_guide(app):
    at = app("guide")
    cells = " ".join(table.value.to_string() for table in at.table).replace("\\", "")
    for entry in (*SEARCHES.values(), *COSTS.values(), *EXPORTS.values()):
        assert entry.title in cells


def test_six_steps_come_first_each_with_a_picture(app):
    at = app("guide")
    numbered = [head.value for head in at.header if head.value[:1].isdigit()]
    assert [head[0] for head in numbered] == list("123456")
    assert len(at.get("plotly_chart")) >= 4


def test_the_bits_of_a_weight_follow_the_slider(app):
    at = app("guide")
    at.slider(key="guide-bits").set_value(2).run()
    assert not at.exception
    assert {metric.label: metric.value for metric in at.metric}["Values"] == "4"
