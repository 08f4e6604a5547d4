"""Tables of ids are offered widths with a scale per group."""

import pytest

from qcore.allocation import FLOAT_BITS, parse_width
from qcore.rules.file import dump_rules, parse_rules
from qcore.rules.proposals import TABLE_WIDTHS, proposals
from qcore.rules.resolve import resolve
from tests.strategies import layer, model

BODY = layer("fc", kind="linear")


@pytest.mark.parametrize("kind", ["embedding", "tied_embedding"])
def test_a_table_is_offered_groups_and_other_layers_keep_their_widths(kind):
    network = model(layer("words", kind=kind), BODY)
    (found,) = proposals(network)
    assert found.ties == ()
    inputs = (FLOAT_BITS,)
    options = resolve(found.rules, network.layers, (3, 4), inputs).options
    assert {bits.weight for bits in options["words"]} == set(TABLE_WIDTHS)
    assert {bits.weight for bits in options["fc"]} == {3, 4}
    assert parse_width("2g32") in TABLE_WIDTHS
    assert parse_rules(dump_rules(found.rules)) == found.rules


def test_a_network_without_tables_is_offered_none():
    assert proposals(model(BODY)) == []
