"""Limits on costs as people write them."""

import pytest

from qcore.allocation import BitAllocation
from qcore.costs import COSTS, costs_of
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.costs.limits import read_limit, units_of
from qcore.errors import InvalidParams
from tests import configs

MODEL = configs.RESNET8
BYTES, OPS = COSTS["weight_bytes"], COSTS["bit_ops"]
PRICES = {
    unit: CostModel("mine", "Mine", unit, lambda layer, bits: 1) for unit in ("ns", "pJ", "cycles")
}


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("40000", 40000), (" 40000 B", 40000), ("40_000", 40000), ("40kB", 40000), ("40KB", 40000),
        ("40 kB", 40000), ("40KiB", 40960), ("0.04MB", 40000), (".5 MiB", 524288), ("4e4", 40000),
        ("1GB", 10**9), ("1GiB", 2**30), ("40k", 40000), ("8 kbit", 1000), ("8 Kibit", 1024),
        ("1e-3 MB", 1000), ("40 bytes", 40), ("+40", 40), ("2.5B", 2.5),
    ],
)  # fmt: skip
def test_bytes(written, bytes_):
    assert read_limit(BYTES, written) == pytest.approx(bytes_, rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "written", "value"),
    [
        ("ns", "3ms", 3e6), ("ns", "3 us", 3000), ("ns", "3µs", 3000), ("ns", "3 μs", 3000),
        ("ns", "2s", 2e9), ("pJ", "2uJ", 2e6), ("pJ", "2 mJ", 2e9), ("cycles", "2M", 2e6),
        ("cycles", "2 Mcycles", 2e6), ("cycles", "2 M cycles", 2e6), ("cycles", "7 cycles", 7),
    ],
)  # fmt: skip
def test_other_units(unit, written, value):
    assert read_limit(PRICES[unit], written) == value


def test_bit_operations():
    for written in ("1.2G", "1.2 G bit-ops", "1.2Gbit-ops", "1.2 GBOPs", "1200M", "1.2e9"):
        assert read_limit(OPS, written) == 1.2e9, written


@pytest.mark.parametrize("name", ["weight_bytes", "model_bytes", "bit_ops", "activation_bytes_max"])
@pytest.mark.parametrize(("widest", "inputs"), [(32, 32), (8, 8), (4, 8)])
def test_a_percentage_is_of_eight_bits_everywhere(name, widest, inputs):
    whole = costs_of(MODEL, BitAllocation.uniform(MODEL.layers, 8, inputs))[name]
    assert read_limit(COSTS[name], "50%", MODEL, widest) == whole / 2
    assert read_limit(COSTS[name], "100 %", MODEL, widest) == whole


@pytest.mark.parametrize("name", COSTS)
def test_what_a_cost_is_shown_in_can_be_written(name):
    for factor, unit in COSTS[name].scales:
        assert read_limit(COSTS[name], f"3 {unit}") == 3 * factor


@pytest.mark.parametrize("cost", [BYTES, OPS, *PRICES.values()])
def test_a_larger_unit_is_larger_whatever_its_spelling(cost):
    assert all(factor > 0 for factor in units_of(cost).values())
    for unit, factor in units_of(cost).items():
        assert read_limit(cost, f"1{unit}") == factor


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "number above 0; got ''"),
        ("forty", "number above 0; got 'forty'"),
        ("-40kB", "number above 0; got '-40kB'"),
        ("0", "number above 0; got '0'"),
        ("0%", "number above 0"),
        ("nan", "number above 0"),
        ("inf", "number above 0"),
        ("1e999", "number above 0"),
        ("40,000", "no unit of it"),
        ("40kb", "'kb' is no unit of it. Did you mean kB or KB"),
        ("40 apples", "'apples' is no unit of it"),
        ("40k B B", "no unit of it"),
        ("3ms", "Its unit is B"),
        ("50 percent", "no unit of it"),
        ("<b>4</b>", "number above 0; got '<b>4</b>'"),
        ("50%", "not known yet; write the number of B"),
        ("9" * 400, "number above 0"),
    ],
)
def test_what_is_no_limit_is_refused_with_the_unit(written, said):
    with pytest.raises(InvalidParams) as caught:
        read_limit(BYTES, written)
    assert said in str(caught.value)


def test_a_budget_of_words_names_the_unit():
    with pytest.raises(InvalidParams, match=r"above 0; got '40KB'\. Its unit is B"):
        Budget({"weight_bytes": "40KB"})
