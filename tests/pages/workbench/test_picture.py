"""What the picture of the bits is given, where it opens, and what is taken over from it."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.plots import reliability
from pages.workbench import payload
from pages.workbench.draft import Row, Start, begin
from pages.workbench.opening import best_point, default_budget
from pages.workbench.picture import prediction_of
from qcore.allocation import BIT_WIDTHS, FLOAT_BITS, BitAllocation, LayerBits, is_float_width
from qcore.costs import COSTS
from qcore.problem import Point, Scores
from tests.pages import sample

MODEL = sample.MODEL
COUNT = len(MODEL.layers)


def draft_of(bits):
    return begin(Start("here", bits), MODEL)


def told(bits, locked=()):
    pairs = list(bits.values())
    return {
        "model": MODEL.digest,
        "number": 3,
        "weight": [pair.weight for pair in pairs],
        "activation": [pair.activation for pair in pairs],
        "locked": [at in locked for at in range(COUNT)],
    }


def test_prices_add_up_to_pythons_costs():
    eight = sample.uniform(8)
    body = payload.bars_payload(MODEL, draft_of(eight), eight, payload.not_predicted(""), 0)
    body = json.loads(json.dumps(body))
    rng = random.Random(0)
    for _ in range(30):
        bits = BitAllocation(
            {
                name: LayerBits(rng.choice(BIT_WIDTHS), rng.choice(BIT_WIDTHS))
                for name in MODEL.names
            }
        )
        pairs = list(bits.values())
        weights = sum(
            row[body["widths"].index(pair.weight)]
            for row, pair in zip(body["costs"]["weight"]["prices"], pairs, strict=True)
        )
        compute = sum(
            price * body["sizes"][str(pair.weight)] * body["sizes"][str(pair.activation)]
            for price, pair in zip(body["costs"]["activation"]["prices"], pairs, strict=True)
        )
        assert weights == COSTS["weight_bytes"].total(MODEL, bits)
        assert compute == COSTS["bit_ops"].total(MODEL, bits)


def test_an_edit_is_taken_over_and_what_cannot_be_drawn_stays():
    eight = sample.uniform(8)
    draft = draft_of(eight)
    rows = (Row(9, 32), *draft.rows[1:])
    typed = replace(draft, rows=rows)
    bits = eight.replace(MODEL.names[2], LayerBits(3, 4))
    number, edit = payload.read_edit(told(bits, locked={4}), MODEL)
    after = payload.told_draft(typed, eight, edit)
    assert number == 3
    assert after.rows[0] == Row(9, 32)
    assert after.rows[2] == Row(3, 4)
    assert [row.locked for row in after.rows] == [at == 4 for at in range(COUNT)]
    assert after.start == draft.start


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other"},
        {"number": -1},
        {"number": True},
        {"number": "1"},
        {"weight": [8] * (COUNT - 1)},
        {"weight": "8" * COUNT},
        {"weight": [19] * COUNT},
        {"weight": [True] * COUNT},
        {"activation": [None] * COUNT},
        {"activation": [4.5] * COUNT},
        {"locked": [1] * COUNT},
        {"locked": None},
    ],
)
def test_nonsense_from_a_browser_is_left_aside(changes):
    assert payload.read_edit({**told(sample.uniform(8)), **changes}, MODEL) is None


def test_what_is_no_message_at_all_is_left_aside():
    assert payload.read_edit(None, MODEL) is None
    assert payload.read_edit([1], MODEL) is None


@given(st.dictionaries(st.sampled_from(BIT_WIDTHS), st.floats(-1, 9), max_size=6))
def test_widths_between_known_ones_lie_between_them(scores):
    found = payload.filled(scores)
    known = sorted(bits for bits in scores if not is_float_width(bits))
    between = list(range(known[0], known[-1] + 1)) if known else []
    # nothing is read off between whole numbers and floats of 16 bits
    halves = sorted(bits for bits in scores if is_float_width(bits) and bits != FLOAT_BITS)
    assert sorted(found) == between + halves
    for low, high in pairwise(known):
        ends = sorted((scores[low], scores[high]))
        between = [found[bits] for bits in range(low, high + 1)]
        assert (between[0], between[-1]) == (scores[low], scores[high])
        assert all(ends[0] - 1e-9 <= value <= ends[1] + 1e-9 for value in between)
        assert all(width not in scores for width in range(low + 1, high))


def test_a_constant_factor_a_bit_is_found_again():
    found = payload.filled({2: 4.0, 5: 4.0 * 0.3**3, 8: 4.0 * 0.3**6})
    assert found == pytest.approx({bits: 4.0 * 0.3 ** (bits - 2) for bits in range(2, 9)})


def measured(count, seed, n=1000):
    """Points whose divergence takes few values, of both stages."""
    rng = random.Random(seed)
    points = []
    for at, bits in enumerate(sample.allocations(count, seed)):
        scores = Scores(n, rng.randrange(8) / 10, 0.9, 0.9)
        stage = rng.choice(("ptq", "ptq", "ptq+tuned"))
        images = rng.choice((None, None, (0, 100)))
        points.append(sample.stored(at, 1, Point(bits, scores, stage=stage, images=images)))
    return points


@pytest.mark.parametrize("seed", range(5))
def test_it_opens_at_the_least_divergence_within_the_budget(seed):
    cost, points, found = COSTS["weight_bytes"], measured(40, seed), 0
    for limit in (10_000, 26_000, 30_000, default_budget(MODEL), 1e9):
        best = best_point(points, MODEL, limit)
        usable = [
            (stored.point.search.kl, cost.total(MODEL, stored.point.allocation), stored.id)
            for stored in points
            if stored.point.stage == "ptq"
            and stored.point.images is None
            and cost.total(MODEL, stored.point.allocation) <= limit
        ]
        assert (best and best.id) == (min(usable)[2] if usable else None)
        found += best is not None
    assert found >= 2


def test_points_of_other_layers_are_no_start():
    names = BitAllocation({"other": LayerBits(4)})
    points = [sample.stored(1, 1, Point(names, Scores(10, 0.0, 1.0)))]
    assert best_point(points, MODEL, 1e9) is None


def judged(floats, slope=5.0, n=sample.FLOAT.n):
    """A sensitivity, and measured points whose accuracy falls with what it predicts."""
    table = sample.table()
    points = []
    for at, bits in enumerate(sample.allocations(60, 2)):
        damage = sum(table.score(*item) for item in bits.items())
        share = 0.93 - slope * damage / 100
        points.append(sample.stored(at, 1, Point(bits, Scores(n, damage, share, share))))
    found = reliability.reliability(table, MODEL, points)
    return prediction_of(MODEL, table, found, floats)


def test_damage_is_told_in_points_of_loss_against_the_float_network():
    loss = judged(sample.FLOAT)["loss"]
    assert loss["n"] == 60
    # accuracy falls by 5 points a nat, exactly
    for damage, mean in zip(loss["at"], loss["mean"], strict=True):
        assert mean == pytest.approx(5 * damage)


@pytest.mark.parametrize(
    ("floats", "why"),
    [
        (None, "the float network was not scored"),
        (replace(sample.FLOAT, n=512), "on the 512 search images that the float network was; "
         "there are 0."),
    ],
)  # fmt: skip
def test_without_float_scores_on_the_same_images_damage_stays_in_nats(floats, why):
    told = judged(floats)
    assert told["loss"] is None
    assert told["unit"] == "nats"
    assert why in told["words"]


def test_predictions_that_rank_badly_are_not_sent():
    table = sample.table()
    points = [
        sample.stored(
            at,
            1,
            Point(bits, Scores(1024, 9 - sum(table.score(*item) for item in bits.items()), 0.9)),
        )
        for at, bits in enumerate(sample.allocations(60, 2))
    ]
    found = reliability.reliability(table, MODEL, points)
    told = prediction_of(MODEL, table, found, sample.FLOAT)
    assert told["damage"] is None
    assert "predictions are hidden" in told["words"]
    assert prediction_of(MODEL, None, None, None)["damage"] is None
