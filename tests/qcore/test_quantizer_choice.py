"""A run may choose how its weights get their steps, and everything that follows keeps to it."""

import dataclasses

import pytest
import torch

from qcore import apply_bits
from qcore.engine import drive
from qcore.errors import InvalidParams
from qcore.formats.config import dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write
from qcore.models.catalog import bundled_spec
from qcore.models.zoo import load_model
from qcore.prepare import prepare, table_key
from qcore.quantizer_names import LEARNED, POST_TRAINING, key_part, learned_for, quantizer_of
from qcore.quantizers import LEARNED_QUANTIZERS, QUANTIZERS
from qcore.run_spec import RunSpec, check_run
from qcore.searches import SEARCHES

pytestmark = pytest.mark.usefixtures("few_test_images")

SPEC = RunSpec(
    "resnet8", "fashion-mnist", "uniform", weight_bits=(3, 4),
    calibration_images=32, search_images=64, device="cpu",
)  # fmt: skip
ABSMAX = dataclasses.replace(SPEC, quantizer="absmax")


@pytest.fixture(scope="module")
def absmax():
    return prepare(ABSMAX)


def searched(prepared, known=()):
    search = SEARCHES["uniform"]
    return drive(search, prepared.problem, search.params(), 0, score=prepared.score, known=known)


def test_every_name_is_made_and_every_search_offers_what_it_can_train_with():
    assert list(QUANTIZERS) == list(POST_TRAINING)
    assert [made.name for made in LEARNED_QUANTIZERS.values()] == list(LEARNED)
    assert learned_for("gradfreebits") == ("clip", "lsq", "dorefa")
    assert learned_for("bitmixer") == ("clip", "lsq", "dorefa", "nested")
    assert learned_for("spnets") == ("clip", "lsq", "dorefa", "nested", "sign")
    assert {name for each in LEARNED.values() for name in each.searches} <= set(SEARCHES)


def test_a_run_stored_before_there_was_a_choice_means_mse():
    document = SPEC.to_json()
    assert document.pop("quantizer") == "mse"
    assert RunSpec.from_json(document) == SPEC
    assert RunSpec.from_json(ABSMAX.to_json()) == ABSMAX


def test_an_unknown_quantizer_is_refused_with_the_known_ones():
    check_run(ABSMAX, bundled_spec("resnet8"))
    with pytest.raises(InvalidParams, match="Unknown quantizer 'worst'; known: mse, absmax"):
        check_run(dataclasses.replace(SPEC, quantizer="worst"), None)


def test_stored_sensitivities_are_kept_apart_and_old_ones_found():
    old, new = (table_key("m" * 64, "d" * 64, "kl", spec) for spec in (SPEC, ABSMAX))
    assert old == f"v2/kl/w3,4/a32/{'m' * 16}/{'d' * 16}"
    assert new == old + key_part("absmax") != old
    assert (quantizer_of(f"{old}/pin8"), quantizer_of(f"{new}/pin8")) == ("mse", "absmax")


def test_another_quantizer_gives_other_scores_that_its_file_reproduces(absmax):
    usual, mine = searched(prepare(SPEC)).points, searched(absmax).points
    assert [p.allocation for p in usual] == [p.allocation for p in mine]
    assert all(a.search.kl != b.search.kl for a, b in zip(usual, mine, strict=True))
    point = absmax.report(mine[0])
    text = dump_bits(absmax.config(point, {"quantizer": "absmax"}))
    images = absmax.evaluator.calibration[0][0]
    applied = apply_bits(load_model("resnet8"), parse_bits(text))
    absmax.evaluator.state(point)  # switches the evaluator's own model to the point
    with torch.inference_mode():
        assert torch.equal(applied(images), absmax.evaluator.model(images))
    steps = parse_bits(text).state["conv1"]["weight_step"]
    layer = absmax.evaluator.model.layers["conv1"]
    largest = layer.weight.abs().amax((1, 2, 3))
    assert torch.equal(torch.from_numpy(steps.copy()), largest / 3)  # codes of 3 bits end at 3
    assert write(EXPORTS["yaml"], parse_bits(text))


def test_other_processes_score_with_the_same_quantizer(absmax):
    there, here = absmax.recipe("ptq"), prepare(SPEC).recipe("ptq")
    assert there.key != here.key
    (point, *_) = searched(absmax).points
    again = list(there.context().score([point.allocation], "ptq", None))
    assert again[0].search == point.search


def test_a_resumed_run_goes_on_with_its_quantizer(absmax):
    whole = searched(absmax)
    again = searched(prepare(ABSMAX), known=whole.points[:1])
    assert [p.search for p in again.points] == [p.search for p in whole.points]
    assert again.evaluations == len(whole.points) - 1
