"""A user's CSV of costs: what is read, refused, warned of, and where it applies."""

import itertools

import pytest

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import COSTS, applicable, costs_of, refusals
from qcore.costs.budget import Budget, make_options
from qcore.costs.formulas import UNPRICED
from qcore.costs.user_tables import cost_of, read_costs, read_table
from qcore.errors import InfeasibleBudget, InvalidConfig, InvalidParams
from qcore.models.catalog import MODELS
from qcore.problem import Problem, SensitivityTable
from qcore.solvers.knapsack import problem_front
from tests.strategies import model

HEAD = "layer,weight_bits,activation_bits,latency_us\n"
ROWS = "conv,8,8,4\nconv,4,8,2.5\nconv,4,4,2\nfc,8,8,10\nfc,4,8,6\nfc,4,4,5.0\n"


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def write(folder, text, name="phone"):
    path = folder / f"{name}.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_become_whole_nanoseconds(folder):
    table = read_table(write(folder, HEAD + ROWS))
    assert (table.what, table.unit, table.warnings) == ("latency", "ns", ())
    assert table.rows["conv"] == {
        LayerBits(8, 8): 4000,
        LayerBits(4, 8): 2500,
        LayerBits(4, 4): 2000,
    }


@pytest.mark.parametrize(
    ("head", "unit", "value"),
    [("latency_ms", "ns", 4_000_000), ("energy_nJ", "pJ", 4000), ("latency_cycles", "cycles", 4)],
)
def test_units_are_read_from_the_last_column(folder, head, unit, value):
    table = read_table(write(folder, f"layer,weight_bits,activation_bits,{head}\nconv,8,8,4\n"))
    assert (table.unit, table.rows["conv"][LayerBits(8, 8)]) == (unit, value)


def test_a_table_is_a_cost_like_any_other(folder):
    write(folder, HEAD + ROWS)
    costs = read_costs(folder)
    spec = model()
    assert "phone" in applicable(spec, costs)
    bits = BitAllocation({"conv": LayerBits(4, 4), "fc": LayerBits(8, 8)})
    assert costs_of(spec, bits, costs)["phone"] == 2000 + 10_000
    options = make_options(spec.layers, (4, 8), (4, 8))
    with pytest.raises(InfeasibleBudget, match="7,000 ns"):
        Budget({"phone": 6999}, costs).check_feasible(spec, options)
    (folder / "phone.csv").unlink()
    assert "phone" not in read_costs(folder)
    assert "phone" in costs, "a value that was handed out stays as it was"


def test_bitdials_own_costs_and_networks_cannot_be_changed_in_place(folder):
    for shipped in (COSTS, MODELS):
        with pytest.raises(TypeError):
            shipped["phone"] = None


def test_a_changed_file_is_read_again(folder):
    path = write(folder, HEAD + ROWS)
    top = BitAllocation.uniform(model().layers, 8, 8)
    assert costs_of(model(), top, read_costs(folder))["phone"] == 4000 + 10_000
    path.write_text(HEAD + ROWS.replace("fc,8,8,10", "fc,8,8,1000"), encoding="utf-8")
    assert costs_of(model(), top, read_costs(folder))["phone"] == 4000 + 1_000_000


def test_the_exact_front_over_a_table_is_the_brute_force_one(folder):
    # more bits may take less here: no solver relies on rising costs
    write(folder, HEAD + ROWS.replace("conv,8,8,4\n", "conv,8,8,1\n"))
    costs = read_costs(folder)
    spec = model()
    options = make_options(spec.layers, (4, 8), (4, 8))
    rows = {name: {4: 3.0, 8: 1.0} for name in spec.names}
    table = SensitivityTable("kl", "nats", weight=rows, activation=rows)
    front = problem_front(Problem(spec, options, Budget({}, costs)), table, ("phone",))
    every = [
        BitAllocation(dict(zip(spec.names, pair, strict=True)))
        for pair in itertools.product(*(options[name] for name in spec.names))
    ]
    points = [
        (costs_of(spec, a, costs)["phone"], sum(table.score(n, b) for n, b in a.items()))
        for a in every
    ]
    best = {
        (cost, score)
        for cost, score in points
        if not any(c <= cost and s <= score and (c, s) != (cost, score) for c, s in points)
    }
    assert {(found["phone"], score) for _, found, score in front} == best


def test_a_width_without_a_row_costs_what_the_cheapest_wider_one_does(folder):
    cost = cost_of(read_table(write(folder, HEAD + ROWS)))
    conv = model().layers[0]
    assert cost.layer_cost(conv, LayerBits(3, 4)) == 2000
    assert cost.layer_cost(conv, LayerBits(5, 4)) == 4000
    assert cost.layer_cost(conv, LayerBits(8, 32)) == UNPRICED


def test_bits_beyond_the_table_have_no_such_cost_and_fit_no_limit(folder):
    write(folder, HEAD + ROWS)
    costs, spec = read_costs(folder), model()
    floats = costs_of(spec, BitAllocation.uniform(spec.layers, 8, 32), costs)
    assert "phone" not in floats
    budget = Budget({"phone": 10**9}, costs)
    assert not budget.admits(floats)
    with pytest.raises(InvalidParams, match="no row for the allowed bits"):
        budget.check_feasible(spec, make_options(spec.layers, (8,), (32,)))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("conv,8,8,4\n", "has no row for fc"),
        (ROWS + "stem,8,8,1\n", "also has stem"),
    ],
)
def test_another_networks_table_is_left_out_with_the_reason(folder, rows, words):
    write(folder, HEAD + rows)
    costs = read_costs(folder)
    assert "phone" not in applicable(model(), costs)
    assert words in refusals(model(), costs)["phone"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line must be"),
        ("layer,weight_bits,activation_bits,value\nconv,8,8,1\n", "unit among"),
        ("layer,weight_bits,activation_bits,latency_weeks\nconv,8,8,1\n", "unit among"),
        (HEAD, "no row"),
        (HEAD + "conv,8,8,-1\n", "line 2: .* from 0 up .* '-1'"),
        (HEAD + "conv,8,8,nan\n", "line 2"),
        (HEAD + "conv,8,8,1e300\n", "line 2"),
        (HEAD + "conv,8,8,many\n", "line 2"),
        (HEAD + "conv,19,8,1\n", "line 2: weight_bits must be 1 to 16"),
        (HEAD + "conv,8,0,1\n", "line 2: activation_bits must be 1 to 16"),
        (HEAD + "conv,8,8\n", "line 2: there must be 4 values; got 3"),
        (HEAD + ",8,8,1\n", "line 2"),
        (HEAD + "conv,8,8,1\nconv,8,8,2\n", "line 3: .* stands there twice"),
        (HEAD + 'conv,8,8,"1\n', "cannot be read as CSV"),
    ],
)
def test_wrong_files_are_refused_with_the_place(folder, text, words):
    path = write(folder, text)
    with pytest.raises(InvalidConfig, match=words):
        read_table(path)
    costs = read_costs(folder)
    assert list(costs.broken) == ["phone.csv"]
    assert "phone" not in costs


def test_bytes_that_are_no_text_are_refused(folder):
    (folder / "phone.csv").write_bytes(b"\xff\xfe\x00layer")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_table(folder / "phone.csv")


@pytest.mark.parametrize("name", ["weight_bytes", "Grosse Tabelle", "a" * 41])
def test_names_that_are_taken_or_no_names_are_refused(folder, name):
    write(folder, HEAD + ROWS, name)
    costs = read_costs(folder)
    assert list(costs.broken) == [f"{name}.csv"]
    assert costs.models == COSTS


def test_odd_files_are_used_and_said_to_be_odd(folder):
    write(folder, HEAD + ROWS + "fc,8,8,10\n" + "fc,3,4,7\n")
    costs = read_costs(folder)
    repeated, falling = costs.odd["phone.csv"]
    assert repeated == "Line 8 repeats an earlier row."
    assert falling == "fc: 4/8 bits take less than 3/4."
    assert "phone" in applicable(model(), costs)
