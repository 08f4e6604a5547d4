"""Where no limit says what is to be small, scales of groups are not free."""

from qcore.allocation import FLOAT_BITS, LayerBits, parse_width
from qcore.costs.budget import Budget, make_options, usual_size
from qcore.problem import Problem, SensitivityTable
from qcore.solvers.space import space_of
from tests.strategies import layer, model

G32 = parse_width("3g32")
MODEL = model(*(layer(name, kind="linear", weights=3200, channels=10) for name in "ab"))


def damage(bits):
    return {3: 1.0, G32: 0.9, 4: 0.5, 8: 0.1}[bits]


def test_a_grouped_width_costs_more_than_the_bits_alone():
    widths = (3, G32, 4, 8)
    rows = {name: {bits: damage(bits) for bits in widths} for name in "ab"}
    table = SensitivityTable("kl", "nats", rows, {})
    options = make_options(MODEL.layers, widths, (FLOAT_BITS,))
    assert usual_size(options) == "model_bytes"
    assert usual_size(make_options(MODEL.layers, (3, 4), (FLOAT_BITS,))) == "weight_bytes"
    space = space_of(Problem(MODEL, options, Budget({}), table))
    assert space.costs == ("model_bytes",)
    plain, grouped = (options["a"].index(LayerBits(bits)) for bits in (3, G32))
    assert space.prices[0][grouped, 0] > space.prices[0][plain, 0]
