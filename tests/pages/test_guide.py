"""The guide lists what there is, taken from the code, and links to every page."""

from qcore.costs import COSTS
from qcore.formats.exports import EXPORTS
from qcore.searches import SEARCHES


def test_every_method_cost_and_format_is_in_the_guide(app):
    at = app("guide")
    cells = " ".join(table.value.to_string() for table in at.table).replace("\\", "")
    for entry in (*SEARCHES.values(), *COSTS.values(), *EXPORTS.values()):
        assert entry.title in cells
