"""ZigZag itself, on one small layer: the shipped tables can be made again."""

import json

import pytest

from qcore.costs.accelerators import lookup, tables_of_zigzag
from qcore.costs.accelerators.shapes import Shape
from qcore.errors import DataUnavailable

LINEAR = Shape(10, 64)


@pytest.mark.parametrize("accelerator", tables_of_zigzag.ACCELERATORS)
def test_the_shipped_figures_of_a_linear_layer_come_out_again(accelerator):
    pytest.importorskip("zigzag")
    shipped = json.loads((lookup.FOLDER / f"{accelerator}.json").read_text())["shapes"]
    for weight, activation in ((8, 8), (16, 2)):
        least, fastest = tables_of_zigzag.best_mappings(accelerator, LINEAR, weight, activation)
        row = shipped[LINEAR.key][f"{weight},{activation}"]
        assert [round(least.energy), round(fastest.cycles)] == row


def test_a_mapping_priced_again_at_its_own_bits_costs_the_same():
    pytest.importorskip("zigzag")
    least, _ = tables_of_zigzag.best_mappings("eyeriss_like", LINEAR, 8, 8)
    again = tables_of_zigzag.with_mapping("eyeriss_like", LINEAR, 8, 8, least)
    assert (again.energy, again.cycles) == (least.energy, least.cycles)
    narrow = tables_of_zigzag.with_mapping("eyeriss_like", LINEAR, 4, 4, least)
    assert narrow.energy < least.energy


def test_without_zigzag_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tables_of_zigzag, "find_spec", lambda name: None)
    with pytest.raises(DataUnavailable, match=r"requirements-hardware\.txt"):
        tables_of_zigzag.best_mappings("eyeriss_like", LINEAR, 8, 8)
