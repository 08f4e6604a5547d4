"""Importance of bits: a layer that matters ranks first, one that does not is about zero."""

import numpy as np
import pytest

from pages.compare import importance as module
from pages.compare.importance import FEWEST, Tried, importance, tried
from qcore.allocation import BitAllocation, LayerBits
from tests.pages import sample

LAYERS = tuple(f"layer{place}" for place in range(6))


def made(seed: int, count: int = 400, slopes=(0, 0.4, 0, 0.1, 0, 0), activations=(8,)) -> Tried:
    """Allocations at random; the logarithm of their divergence falls by a slope per weight bit."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, 9, (count, len(LAYERS)))
    inputs = rng.choice(activations, (count, len(LAYERS)))
    noise = rng.normal(0, 0.3, count)
    allocations = tuple(
        BitAllocation(
            {
                name: LayerBits(int(w), int(a))
                for name, w, a in zip(LAYERS, weight, activation, strict=True)
            }
        )
        for weight, activation in zip(bits, inputs, strict=True)
    )
    return Tried(allocations, 10.0 ** (-(bits @ np.array(slopes)) + noise))


@pytest.mark.parametrize("seed", range(5))
def test_the_layer_that_is_made_to_matter_ranks_first(seed):
    rows = importance(made(seed), LAYERS)
    assert rows.sort_values("share", ascending=False)["layer"].tolist()[:2] == ["layer1", "layer3"]
    first = rows.set_index("layer").loc["layer1"]
    assert first["low"] > rows.set_index("layer").loc["layer3", "high"]


def test_layers_that_do_not_matter_are_zero_within_their_interval():
    held = total = 0
    for seed in range(30):
        rows = importance(made(seed), LAYERS).set_index("layer")
        for name in ("layer0", "layer2", "layer4", "layer5"):
            held += rows.loc[name, "low"] <= 0 <= rows.loc[name, "high"]
            total += 1
            assert abs(rows.loc[name, "share"]) < 2
    assert held / total >= 0.9


def test_the_share_of_an_additive_law_is_the_layers_share_of_the_variance():
    measured = made(1, 2000)
    bits = np.array([[one[name].weight for name in LAYERS] for one in measured.allocations])
    exact = Tried(measured.allocations, 10.0 ** -(bits @ np.array((0, 0.4, 0, 0.1, 0, 0))))
    rows = importance(exact, LAYERS).set_index("layer")
    own = 0.4**2 * bits[:, 1].var() / np.log10(exact.divergence).var()
    assert rows.loc["layer1", "share"] == pytest.approx(100 * own, rel=0.03)
    assert rows.attrs["explained"] > 99


def test_the_closed_form_is_what_many_drawn_shuffles_give():
    measured = made(3, 100)
    target = np.log10(measured.divergence)
    _, terms = module._terms(measured.allocations, LAYERS)
    added, left = module._added_errors(target, terms)
    fold = np.random.default_rng(0).permutation(len(target)) % module.FOLDS
    design = np.concatenate(terms, axis=1)
    held = fold == 0
    center, scale = design[~held].mean(axis=0), design[~held].std(axis=0)
    seen, unseen = (design[~held] - center) / scale, (design[held] - center) / scale
    slopes = np.linalg.solve(
        seen.T @ seen + module.RIDGE * np.eye(design.shape[1]),
        seen.T @ (target[~held] - target[~held].mean()),
    )
    end = terms[0].shape[1]
    rng, sums = np.random.default_rng(5), []
    for _ in range(4000):
        shuffled = unseen.copy()
        shuffled[:, :end] = shuffled[rng.permutation(len(unseen)), :end]
        errors = (target[held] - target[~held].mean() - shuffled @ slopes) ** 2
        sums.append(errors.mean() - (left[held] ** 2).mean())
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - 2 * added[held, 0].mean()) < 4 * error


def test_inputs_that_differ_are_terms_of_their_own():
    rows = importance(made(2, activations=(4, 8)), LAYERS)
    assert set(rows["part"]) == {"weights", "inputs"}
    assert len(rows) == 2 * len(LAYERS)


def test_too_few_or_equal_points_say_nothing():
    assert importance(made(0, FEWEST - 1), LAYERS).empty
    level = made(0)
    assert importance(Tried(level.allocations, np.ones(400)), LAYERS).empty
    assert importance(Tried((), np.array([])), LAYERS).empty


def test_trained_weights_and_repeated_allocations_are_left_out():
    one, two = sample.allocations(2)
    points = [
        sample.point(one, 800),
        sample.point(one, 800),
        sample.point(two, 700, stage="weights"),
        sample.point(two, 900, stage="ptq+tuned"),
    ]
    stored = [sample.stored(number, 1, each) for number, each in enumerate(points, start=1)]
    measured = tried(stored, sample.MODEL)
    assert list(measured.allocations) == [one]
    assert (measured.divergence > 0).all()
