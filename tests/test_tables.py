"""Tables in the documents say what the benchmarks' results say."""

from benchmarks.allocation import allocators_table, picks_table, searches_table
from qcore.costs import COSTS
from qcore.formats.exports import EXPORTS


def test_the_readme_shows_every_measured_allocator():
    text = allocators_table.README.read_text(encoding="utf-8")
    assert allocators_table.tables() in text
    assert text == allocators_table.with_tables(text)


def test_the_readme_shows_what_was_measured_of_picks():
    found = picks_table.results()
    text = picks_table.README.read_text(encoding="utf-8")
    assert found["rules"]
    assert picks_table.markdown(found) in text
    assert text == picks_table.with_tables(text, found)


def test_every_allocator_was_measured_on_both_networks_at_every_budget():
    cells = {
        (row["model"], row["method"], row["budget_bits"])
        for model in allocators_table.MODELS
        for row in allocators_table.results(model)
    }
    methods = {method for _, method, _ in cells}
    assert {"portfolio", "uniform", "greedy", "random", "exact: hessian"} <= methods
    assert len(cells) == len(methods) * len(allocators_table.MODELS) * len(allocators_table.BUDGETS)


def test_a_cell_that_was_not_measured_is_a_dash(monkeypatch):
    rows = [row for row in allocators_table.results("resnet20") if row["budget_bits"] != 3.0]
    monkeypatch.setattr(allocators_table, "results", lambda model: rows)
    table = allocators_table.markdown("resnet20", ["portfolio"])
    assert table.splitlines()[2].split(" | ")[3] == "-"


def test_the_document_of_searches_says_what_their_records_say():
    """`python -m benchmarks.allocation.searches_table` writes it."""
    assert searches_table.DOCUMENT.read_text(encoding="utf-8") == searches_table.document()


def test_every_cost_and_every_export_has_its_row():
    for document, names in (("costs.md", COSTS), ("exports.md", EXPORTS)):
        text = (searches_table.DOCUMENT.parent / document).read_text(encoding="utf-8")
        assert [name for name in names if f"`{name}`" not in text] == []
