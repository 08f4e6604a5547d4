"""What is told of the price of a rule follows from what was measured: the pure parts."""

import base64
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from benchmarks.allocation import ruled_figure, ruled_table
from benchmarks.allocation.ruled import FREE, MODELS, SETTINGS, summary
from qcore.costs import COSTS
from qcore.models.catalog import bundled_spec
from qcore.paired import loss_intervals, mcnemar
from qcore.rules.resolve import resolve

IMAGES = 2_000
WEIGHTS = SETTINGS[0]
SIZE = 8_000
"""Weights of the made-up network: b bits are 1,000 b bytes."""


def test_cell(digest, right):
    name = {"cell": "test", "model": "resnet8", "setting": "weights", "digest": digest}
    packed = base64.b85encode(np.packbits(right).tobytes()).decode()
    return {"name": name, "result": {"right": packed, "kl": 0.0}}


test_cell.__test__ = False


def front_cell(rule, digests):
    picks = [
        {"bits": bits, "budget": SIZE * bits / 8, "digest": digest, "cost": 1000 * bits, "score": 1}
        for bits, digest in zip(WEIGHTS.bits, digests, strict=True)
    ]
    name = {"cell": "front", "model": "resnet8", "setting": "weights", "rule": rule}
    front = {"costs": [2_000, 4_000, 8_000], "scores": [1.0, 0.1, 0.0], "picks": picks}
    return {"name": name, "result": front}


def cells():
    """A free optimum, and a rule with budgets it cannot keep, equal, worse, better and like it."""
    free = np.ones(IMAGES, bool)
    free[:100] = False
    worse, like, better = free.copy(), free.copy(), free.copy()
    worse[200:300] = False
    like[200:206], like[:4] = False, True
    better[:60] = True
    digests = [None, "free", "worse", "like", "better", "free"]
    tests = {"free": free, "worse": worse, "like": like, "better": better}
    return [
        front_cell(FREE, ["free"] * 6),
        front_cell("only 4 and 8", digests),
        *(test_cell(digest, right) for digest, right in tests.items()),
    ]


def test_a_rule_costs_gains_or_ties_and_what_it_cannot_keep_is_said():
    rows = summary(cells())
    assert [row["verdict"] for row in rows] == [
        "not possible", "tie", "costs", "tie", "gains", "tie",
    ]  # fmt: skip
    assert [row["bits"] for row in rows] == list(WEIGHTS.bits)
    assert [row.get("same") for row in rows] == [None, True, False, False, False, True]
    worse, like = rows[2], rows[3]
    assert (worse["points"], like["points"]) == (pytest.approx(5.0), pytest.approx(0.1))
    low, high = loss_intervals([IMAGES], [6], [4])
    assert like["interval"] == pytest.approx([low[0], high[0]])
    # three different allocations were compared: the smallest p-value counts three times
    assert worse["p"] == pytest.approx(3 * mcnemar(100, 0))


def test_scores_that_are_numbers_are_compared_sample_by_sample_with_their_own_interval():
    rng = np.random.default_rng(0)
    free = rng.uniform(0.5, 1, IMAGES).astype("<f4")
    scores = {"free": free, "worse": free - rng.normal(0.02, 0.1, IMAGES), "like": free.copy()}
    scores["like"][:100] += np.float32(1e-4) * np.where(np.arange(100) % 2, 1, -1)
    looks = []
    for digest, each in scores.items():
        name = {"cell": "test", "model": "bearing", "setting": "weights", "digest": digest}
        packed = base64.b85encode(each.astype("<f4").tobytes()).decode()
        result = {"scores": packed, "score": "AUC", "factor": 100.0, "kl": 0.0}
        looks.append({"name": name, "result": result})
    fronts = [front_cell(FREE, ["free"] * 6), front_cell("only 4 and 8", ["worse", "like"] * 3)]
    for each in fronts:
        each["name"]["model"] = "bearing"
    rows = summary([*fronts, *looks])
    assert [row["verdict"] for row in rows] == ["costs", "tie"] * 3
    worse = rows[0]
    change = 100 * (free.astype(float) - scores["worse"].astype("<f4"))
    assert worse["points"] == pytest.approx(change.mean())
    half = stats.t.ppf(0.975, IMAGES - 1) * change.std(ddof=1) / IMAGES**0.5
    assert worse["interval"] == pytest.approx([change.mean() - half, change.mean() + half])
    assert (worse["score"], worse["n"]) == ("AUC", IMAGES)
    found = ruled_table.results(fronts, rows)
    root = ElementTree.fromstring(ruled_figure.picture(found, False))
    assert any(e.text == "bearing, weights, points of AUC" for e in root.iter())


def test_what_was_not_looked_at_yet_is_left_out():
    left = [c for c in cells() if c["name"].get("digest") != "worse"]
    assert len(summary(left)) == 5
    assert summary([c for c in left if c["name"].get("rule") != FREE]) == []


def test_tables_and_pictures_say_ties_and_what_cannot_be():
    found = ruled_table.results(cells(), summary(cells()))
    text = ruled_table.with_tables("a\n<!-- rules -->\nold\n<!-- /rules -->\nz\n", found)
    line = next(line for line in text.splitlines() if line.startswith("| resnet8: only"))
    low, high = (float(end[0]) for end in loss_intervals([IMAGES], [100], [0]))
    worse = f"**+5.00 ({low:+.2f} to {high:+.2f})**"
    assert line.split(" | ")[1:4] == ["not possible", "the same", worse]
    assert "tie, +0.10 (" in line
    assert text.startswith("a\n")
    assert text.endswith("<!-- /rules -->\nz\n")
    for dark in (False, True):
        root = ElementTree.fromstring(ruled_figure.picture(found, dark))
        circles = [e for e in root.iter() if e.tag.endswith("circle")]
        # a ring is a tie, a full dot a difference that is shown
        assert [e.get("fill") == "none" for e in circles] == [True, False, True, False, True]


@pytest.mark.parametrize("model", MODELS)
def test_every_rule_of_the_benchmark_holds_on_its_network(model):
    spec = bundled_spec(model)
    for setting in SETTINGS:
        rules = setting.rules(spec)
        assert next(iter(rules)) == FREE
        assert ("shared inputs tied" in rules) == (
            setting.name == "activations" and model.startswith("resnet")
        )
        widest = setting.budgets(spec)[-1]
        for chosen in rules.values():
            allowed = resolve(chosen, spec.layers, setting.weights, setting.activations)
            cost = COSTS[setting.cost]
            least = sum(
                min(cost.layer_cost(layer, bits) for bits in allowed.options[layer.name])
                for layer in spec.layers
            )
            assert least < widest


def test_the_document_has_the_tables_that_are_on_file():
    found = json.loads(ruled_table.RESULTS.read_text(encoding="utf-8"))
    text = ruled_table.DOCUMENT.read_text(encoding="utf-8")
    assert ruled_table.with_tables(text, found) == text
    for dark, path in ruled_figure.FILES.items():
        assert path.read_text(encoding="utf-8") == ruled_figure.picture(found, dark)
