"""A run may choose how its weights become codes, and everything that follows keeps to it."""

import dataclasses

import pytest
import torch

from qcore import apply_bits
from qcore.allocation import BitAllocation
from qcore.cache import Cache, entries, read, write
from qcore.data import load_data
from qcore.engine import drive
from qcore.errors import InvalidParams
from qcore.formats.config import dump_bits, parse_bits
from qcore.formats.exports import EXPORTS, write_with_model
from qcore.formats.exports.templates import packed_reader
from qcore.models.catalog import bundled_spec
from qcore.models.zoo import load_model
from qcore.prepare import prepare, table_key
from qcore.ptq.rounding_names import NEAREST, ROUNDING_FACTS, rounding_of
from qcore.quantization_card import NOT_SAID, card_of, card_of_config, differing_rows
from qcore.quantizer_names import quantizer_of
from qcore.run_spec import RunSpec, check_run
from qcore.searches import SEARCHES
from qcore.setting import Setting

pytestmark = pytest.mark.usefixtures("few_test_images")

SPEC = RunSpec(
    "resnet8", "fashion-mnist", "uniform", weight_bits=(2, 3, 8),
    calibration_images=48, search_images=64, device="cpu",
)  # fmt: skip
GPTQ = dataclasses.replace(SPEC, rounding="gptq")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"), 10**8)


@pytest.fixture(scope="module")
def gptq(kept):
    return prepare(GPTQ, cache=kept)


@pytest.fixture(scope="module")
def reported(gptq):
    allocation = BitAllocation.uniform(gptq.model.layers, 2)
    return gptq.report(next(gptq.score([allocation])))


def searched(prepared, known=()):
    search = SEARCHES["uniform"]
    return drive(search, prepared.problem, search.params(), 0, score=prepared.score, known=known)


def test_a_run_stored_before_there_was_a_choice_means_the_nearest_codes():
    document = SPEC.to_json()
    assert document.pop("rounding") == NEAREST
    assert RunSpec.from_json(document) == SPEC
    assert RunSpec.from_json(GPTQ.to_json()) == GPTQ


def test_what_cannot_be_is_refused_and_the_known_ones_named():
    check_run(GPTQ, bundled_spec("resnet8"))
    with pytest.raises(InvalidParams, match="Unknown rounding 'up'; known: nearest, gpfq, gptq"):
        check_run(dataclasses.replace(SPEC, rounding="up"), None)
    with pytest.raises(InvalidParams, match="use 2 at least; got 1"):
        check_run(dataclasses.replace(GPTQ, calibration_images=1), None)
    check_run(dataclasses.replace(SPEC, calibration_images=1), None)


def test_stored_tables_are_kept_apart_and_old_ones_found():
    both = dataclasses.replace(GPTQ, quantizer="absmax")
    names = [table_key("m" * 64, "d" * 64, "kl", spec) for spec in (SPEC, GPTQ, both)]
    assert names[0] == f"v2/kl/w2,3,8/a32/{'m' * 16}/{'d' * 16}"
    assert [rounding_of(name) for name in names] == [NEAREST, "gptq", "gptq"]
    assert [quantizer_of(name) for name in names] == ["mse", "mse", "absmax"]


def test_a_point_has_other_weights_and_its_file_gives_its_very_logits(gptq, reported):
    (usual,) = prepare(SPEC).score([reported.allocation])
    assert usual.search != reported.search
    text = dump_bits(gptq.config(reported, {"rounding": "gptq"}))
    config = parse_bits(text)
    images = gptq.evaluator.calibration[0][0]
    applied = apply_bits(load_model("resnet8"), config)
    gptq.evaluator.state(reported)
    with torch.inference_mode():
        wanted = gptq.evaluator.model(images)
        assert torch.equal(applied(images), wanted)
        network = load_model("resnet8").eval()
        packed = write_with_model(EXPORTS["packed"], config, network, images)
        read = packed_reader.apply(network, packed_reader.parse(packed.content))
        torch.testing.assert_close(read(images.contiguous()), wanted, rtol=1e-4, atol=1e-4)
    # its report holds the file, run by onnxruntime, against the applied configuration
    report = write_with_model(EXPORTS["onnx"], config, network, images).report
    assert report["median_abs_diff"] < 1e-5
    assert report["argmax_agreement"] == 1


def test_other_processes_score_with_the_same_codes(gptq, reported):
    there = gptq.recipe("ptq")
    assert there.key != prepare(SPEC).recipe("ptq").key
    context = there.context()
    context.rounded.batches = []  # nothing is made there
    again = list(context.score([reported.allocation], "ptq", None))
    assert again[0].search == reported.search


def test_codes_that_are_kept_are_not_made_again(kept, gptq, reported, monkeypatch):
    files = [path for path in entries(kept.folder) if path.name.startswith("codes-")]
    assert len(files) == 2  # of 8 bits the nearest are taken
    with monkeypatch.context() as patched:
        patched.setattr("qcore.rounding.table.round_layers", None)
        again = prepare(GPTQ, cache=kept)
    assert next(again.score([reported.allocation])).search == reported.search
    whole = {path: read(path) for path in files}
    for path, arrays in whole.items():
        odd = {n: a[:, :1] if n.startswith("codes/") else a for n, a in arrays.items()}
        write(path, odd, packed=True)
    other = prepare(GPTQ, cache=kept)
    assert next(other.score([reported.allocation])).search == reported.search


def test_codes_of_another_rounding_or_quantizer_are_others(kept, gptq):
    before = len([path for path in entries(kept.folder) if path.name.startswith("codes-")])
    for changes in ({"rounding": "gpfq"}, {"quantizer": "absmax"}):
        prepare(dataclasses.replace(GPTQ, weight_bits=(2, 8), **changes), cache=kept)
        now = len([path for path in entries(kept.folder) if path.name.startswith("codes-")])
        assert now > before
        before = now


def test_a_resumed_run_goes_on_with_its_rounding(gptq):
    whole = searched(gptq)
    again = searched(prepare(GPTQ), known=whole.points[:1])
    assert [p.search for p in again.points] == [p.search for p in whole.points]


def test_progress_is_told_in_a_few_words():
    told = []
    prepare(GPTQ, on_progress=told.append)
    words = [each for each in told if each.startswith("Rounding weights (gptq), layer ")]
    assert words[-1] == "Rounding weights (gptq), layer 10 of 10"
    assert len(words) == 10


def test_sensitivities_see_the_codes_of_the_rounding(gptq):
    usual = prepare(SPEC).problem.sensitivity("weight_mse")
    mine = gptq.problem.sensitivity("weight_mse")
    assert all(mine.weight[n][2] != usual.weight[n][2] for n in usual.weight)
    assert all(mine.weight[n][8] == usual.weight[n][8] for n in usual.weight)
    assert gptq.problem.sensitivity("kl").n == 12  # a quarter of the calibration images


def test_samples_that_calibrate_and_samples_that_score_are_other_ones():
    data = load_data("fashion-mnist", calibration=48, search=64)
    splits = [{x.numpy().tobytes() for x in s.pixels} for s in (data.calibration, data.search)]
    assert not splits[0] & splits[1]


def test_two_roundings_are_not_compared_and_the_card_tells_them_apart():
    for rounding in ROUNDING_FACTS:
        spec = dataclasses.replace(SPEC, rounding=rounding)
        same = Setting.of(spec).measuring == Setting.of(SPEC).measuring
        assert same == (rounding == NEAREST)
    mine, usual = card_of(GPTQ), card_of(SPEC)
    labels = {label for label, _, _ in differing_rows(mine, usual)}
    assert labels == {"Rounding of weights", "Scales of weights", "Calibration"}
    assert "all but the first 12" in mine.calibration
    gone = dataclasses.replace(SPEC, rounding="of another release")
    assert card_of(gone).rounding == NOT_SAID
    trained = RunSpec("resnet8", "fashion-mnist", "gradfreebits")
    assert card_of(trained) == card_of(dataclasses.replace(trained, rounding="gptq"))


def test_a_file_says_its_rounding_on_its_card(gptq, reported):
    said = {
        "data": "fashion-mnist", "search": "uniform", "params": {}, "calibration_images": 48,
        "search_images": 64, "objective": "kl", "pin_first_last": None, "stage": "ptq",
    }  # fmt: skip
    config = gptq.config(reported, {**said, "rounding": "gptq"})
    assert card_of_config(config).rounding == card_of(GPTQ, "ptq").rounding
    assert card_of_config(gptq.config(reported, said)).rounding == card_of(SPEC, "ptq").rounding
