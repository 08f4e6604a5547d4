"""Limits on costs as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import BitAllocation
from qcore.costs import COSTS, costs_of
from qcore.costs.budget import Budget
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.costs.limits import read_limit, units_of, write_limit
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
        ("1e-3 MB", 1000), ("40 bytes", 40), ("+40", 40), ("2.5B", 2),
        ("2.3kB", 2300), ("1.1 kB", 1100), ("1e-3MB", 1000),
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
        ("40,000", "decimal point or set thousands apart: 40.000, or 40000"),
        ("3,5 kB", "Decimals are written with a point: 3.5 kB"),
        ("1,234.5 kB", "Thousands are not set apart: 1234.5 kB"),
        ("12 345", "no spaces in it"),
        ("10-20 kB", "no interval"),
        ("10 kB - 20 kB", "no interval"),
        ("10 to 20 kB", "no interval"),
        ("10..20 kB", "no interval"),
        ("10 … 20 kB", "no interval"),
        ("10 ± 2 kB", "no interval"),
        ("[10, 20] kB", "no interval"),
        ("(10, 20)", "no interval"),
        ("between 10 and 20 kB", "no interval"),
        ("<= 40 kB", "Leave the sign out"),
        ("≤40", "Leave the sign out"),
        ("0.5 B", "less than 1 B"),
        ("8x", "'x' is no unit of it"),
        ("40% of", "'% of' is no unit of it"),
        ("1e999999999", "number above 0"),
        ("1e-999999999", "number above 0"),
        ("3.5 bits", "not known yet; write the number of B"),
        ("8x smaller", "not known yet"),
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


WEIGHTS = sum(layer.weights for layer in MODEL.layers)
OF_WEIGHTS = [cost for cost in COSTS.values() if cost.of_weights]


@pytest.mark.parametrize("cost", OF_WEIGHTS, ids=lambda cost: cost.name)
@pytest.mark.parametrize(
    "unit", [" bits", "bits", " bpw", " bits per weight", " bits/weight", "bit"]
)
def test_bits_for_each_weight_are_a_size(cost, unit):
    limit = read_limit(cost, f"3.5{unit}", MODEL)
    assert limit == (3_500_000 if cost.unit == "µbit" else 7 * WEIGHTS // 16)


def test_what_is_no_size_of_weights_has_no_bits_for_each():
    for name in ("bit_ops", "activation_bytes_sum", "eyeriss_energy_pj"):
        with pytest.raises(InvalidParams, match="say how large weights are"):
            read_limit(COSTS[name], "3.5 bits", MODEL)


@pytest.mark.parametrize(
    "name", ["weight_bytes", "microbits_per_weight", "bit_ops", "simba_energy_pj"]
)
def test_shares_are_of_a_uniform_network_or_of_float(name):
    cost = COSTS[name]
    eight, four, float_ = (
        cost.total(MODEL, BitAllocation.uniform(MODEL.layers, bits)) for bits in (8, 4, 32)
    )
    for written, limit in {
        "40 % of 8 bits": eight * 2 // 5,
        "40% of 8-bit": eight * 2 // 5,
        "40% of 8 bits everywhere": eight * 2 // 5,
        "40%": eight * 2 // 5,
        "100% of 4 bits": four,
        "12.5 % of float": float_ // 8,
        "8x smaller": float_ // 8,
        "8 x smaller than float": float_ // 8,
        "8 times smaller": float_ // 8,
        "2\u00d7 smaller than 8 bits": eight // 2,
        "2x smaller than 4 bits": four // 2,
    }.items():
        assert read_limit(cost, written, MODEL) == limit, written


@pytest.mark.parametrize("base", ["everything", "17 bits", "0 bits", "8", "the rest of it"])
def test_a_share_of_something_else_is_refused(base):
    with pytest.raises(InvalidParams, match="A share is of float or of bits that all layers may"):
        read_limit(BYTES, f"40% of {base}", MODEL)


def test_a_share_of_what_no_table_knows_is_refused():
    def price(layer, bits):
        return 5 if bits.weight <= 8 else UNPRICED

    cost = CostModel("mine", "Mine", "ns", price)
    assert read_limit(cost, "50%", MODEL) == 5 * len(MODEL.layers) // 2
    with pytest.raises(InvalidParams, match=r"Mine of float is not known .* number of ns"):
        read_limit(cost, "8x smaller", MODEL)


def test_a_number_alone_is_in_the_unit_that_is_shown():
    assert read_limit(BYTES, "40", bare="KiB") == 40 * 1024
    assert read_limit(BYTES, "40 B", bare="KiB") == 40
    assert read_limit(COSTS["microbits_per_weight"], "3.5", bare="bits") == 3_500_000


@pytest.mark.parametrize("cost", [*COSTS.values(), PRICES["ns"]], ids=lambda cost: cost.name)
@given(value=st.integers(1, 10**14))
def test_what_is_written_reads_back_as_the_very_number(cost, value):
    assert read_limit(cost, write_limit(cost, value)) == value


@given(words=st.text(max_size=20))
def test_anything_else_is_refused_in_words(words):
    for cost in (BYTES, OPS):
        try:
            limit = read_limit(cost, words, MODEL)
        except InvalidParams as error:
            limit, said = None, str(error)
        assert said.startswith("The limit on") if limit is None else limit >= 1


def test_a_budget_of_words_names_the_unit():
    with pytest.raises(InvalidParams, match=r"above 0; got '40KB'\. Its unit is B"):
        Budget({"weight_bytes": "40KB"})
