"""The quantization card: what it states is what the quantizers do, and it never guesses."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.problem import PTQ, TUNED
from qcore.qat.layer import TrainableLayer
from qcore.qat.mirror.training import codes_of_width
from qcore.quantization_card import (
    NOT_SAID,
    QuantizationCard,
    card_of,
    card_of_config,
    codes_words,
    differing_rows,
    rows,
    unsaid_rows,
)
from qcore.quantizer_names import (
    EVERY_CODE,
    LEARNED,
    LEARNED_RANGE,
    PER_CHANNEL,
    PER_LAYER,
    POST_TRAINING,
    SYMMETRIC,
)
from qcore.quantizers import LEARNED_QUANTIZERS, QUANTIZERS, Histogram, quantize_rows
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from tests import small_nets
from tests.configs import config
from tests.strategies import configs
from tests.variants import examples

WIDTHS = st.integers(1, 8)
SPEC = RunSpec("resnet8", "fashion-mnist", "exact")
post_training = pytest.mark.parametrize("name", list(POST_TRAINING))
learned = pytest.mark.parametrize("name", list(LEARNED))


def with_provenance(said):
    return dataclasses.replace(config(), provenance=said)


def spread() -> torch.Tensor:
    """Rows that leave no code of any grid of 8 bits out: even, of both signs and lopsided."""
    even = torch.linspace(-1, 1, 40_001, dtype=torch.float64)
    small = torch.sign(even) * even.abs() ** 5
    return torch.stack([even, even + 1e-3, torch.linspace(-1, 0.99, 40_001).double(), small])


@post_training
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_channel_has_as_many_codes_as_stated_and_no_more(name, bits):
    w = spread()
    quantized = quantize_rows(w, QUANTIZERS[name].step(w, bits), bits)
    seen = max(len(channel.unique()) for channel in quantized)
    assert seen == POST_TRAINING[name].facts.codes[bits - 1]


@learned
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_layer_has_as_many_codes_as_stated_and_no_more(name, bits):
    quantizer, seen = LEARNED_QUANTIZERS[name], 0
    for weight in spread():
        start = quantizer.weight_start(weight, bits)
        for share in (1.0, 0.25, 0.05):
            scale = torch.tensor(start * share, dtype=weight.dtype)
            seen = max(seen, len(quantizer.weight(weight, scale, bits).unique()))
    assert seen == LEARNED[name].facts.codes[bits - 1]


@post_training
def test_where_steps_are_stated_per_channel_there_is_one_for_each(name):
    assert POST_TRAINING[name].facts.scales == PER_CHANNEL
    model = small_nets.small_model(quantizer=name)
    for layer in model.spec.layers:
        step = model.weight_step(layer.name, 4)
        assert step.shape == (layer.channels,)
        assert len(step.unique()) > 1


@learned
def test_where_steps_are_stated_per_layer_all_channels_share_one(name):
    assert LEARNED[name].facts.scales == PER_LAYER
    model = small_nets.small_trainable(quantizer=name)
    layer: TrainableLayer
    for layer in model.layers.values():
        for bits in (b for b in small_nets.small_options()[layer.name] if b.weight < 32):
            layer.set_bits(bits)
            assert layer.scales[layer.key("w", bits.weight)].shape == ()
            assert len(set(layer.arrays()["weight_step"].tolist())) == 1


@learned
def test_ranges_of_inputs_are_stated_as_learned_where_scales_are(name):
    assert (LEARNED[name].facts.inputs == LEARNED_RANGE) == LEARNED_QUANTIZERS[name].learns


@learned
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_an_input_has_as_many_codes_as_stated(name, bits):
    histogram = Histogram()
    histogram.add(torch.linspace(0, 1, 10_000))
    layer = TrainableLayer("x", torch.nn.Linear(4, 4), LEARNED_QUANTIZERS[name], None)
    options = [dataclasses.replace(o, activation=bits) for o in small_nets.small_options()["head"]]
    with torch.no_grad():
        layer.start_scales(options[:1], histogram)
        grid, scale = layer.grids[bits], layer.scales[layer.key("a", bits)]
        scale *= 0.02
        found = layer.quantizer.inputs(torch.linspace(0, 1, 200_000)[None], scale, grid).unique()
    assert len(found) == 2**bits
    asked = dataclasses.replace(SPEC, activation_bits=(bits,))
    assert card_of(asked).input_codes == "2^b"


def test_ternary_weights_are_stated_where_two_bits_mean_three_levels():
    for ternary in (True, False):
        asked = dataclasses.replace(SPEC, search="mirror", params={"ternary": ternary})
        how = SEARCHES["mirror"].trained(SEARCHES["mirror"].read_params(asked.params), "")
        stated = tuple(how.codes.get(b, n) for b, n in enumerate(EVERY_CODE, 1))
        assert stated[:2] == tuple(len(codes_of_width(bits, ternary)) for bits in (1, 2))
        assert card_of(asked).weight_codes == codes_words(stated)


def test_the_images_stated_for_norms_are_those_of_the_evaluator():
    evaluator = small_nets.small_evaluator()
    corrected = sum(len(batch) for batch in evaluator.correction.batches)
    asked = dataclasses.replace(SPEC, calibration_images=64)
    assert f"on {corrected} images" in card_of(asked, PTQ).norms
    assert f"on {corrected} images" in card_of(asked, PTQ).biases
    assert "the first 256 of them" in card_of(SPEC).calibration


def test_a_file_without_a_word_on_corrections_was_corrected_in_turn():
    in_turn = card_of(dataclasses.replace(SPEC, correction="sequential"))
    normed = card_of(dataclasses.replace(SPEC, correction="normed"))
    assert "estimated anew" in in_turn.norms
    assert in_turn.norms == normed.norms
    assert "elsewhere" not in in_turn.biases
    assert "float network's inputs elsewhere" in normed.biases


def test_tuning_is_stated_for_tuned_points_and_for_runs_that_tune():
    asked = dataclasses.replace(SPEC, tuning=True)
    assert card_of(asked, PTQ).tuning == "none"
    assert card_of(asked, TUNED).tuning in card_of(asked).tuning
    assert card_of(SPEC).tuning == "none"
    assert differing_rows(card_of(SPEC, PTQ), card_of(SPEC, TUNED)) != []


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"quantizer": "absmax"}, {"Quantizer", "Codes of weights"}),
        ({"pin_first_last": 8}, {"First and last layer"}),
        ({"objective": "loss"}, {"Objective"}),
        ({"search_images": 512}, {"Search images"}),
        ({"correction": "off"}, {"Batch-norms", "Biases"}),
        ({"correction": "parallel"}, {"Batch-norms", "Biases"}),
        ({"calibration_images": 512}, {"Calibration"}),
        ({"images_seed": 1}, {"Search images", "Calibration"}),
        (
            {"activation_bits": (4, 8)},
            {"Quantized inputs", "Scales of inputs", "Codes of inputs", "Calibration"},
        ),
        ({"seed": 7, "weight_bits": (2, 4), "limits": {"weight_bytes": 1e4}, "reported": 3}, set()),
        ({"search": "greedy"}, set()),
        ({"search": "random"}, set()),
    ],
)
def test_just_the_rows_that_a_setting_changes_differ(change, label):
    other = card_of(dataclasses.replace(SPEC, **change))
    assert {row for row, _, _ in differing_rows(card_of(SPEC), other)} == label


words = st.sampled_from(["a", "b", NOT_SAID])
cards = st.builds(
    QuantizationCard, **{each.name: words for each in dataclasses.fields(QuantizationCard)}
)


@given(a=cards, b=cards)
def test_rows_are_sorted_into_equal_differing_and_unsaid(a, b):
    differing = differing_rows(a, b)
    assert [(label, y, x) for label, x, y in differing] == differing_rows(b, a)
    assert all(x != y and NOT_SAID not in (x, y) for _, x, y in differing)
    equal = [label for (label, x), (_, y) in zip(rows(a), rows(b), strict=True) if x == y]
    sorted_out = [*(label for label, _, _ in differing), *unsaid_rows(a, b), *equal]
    assert sorted(sorted_out) == sorted(label for label, _ in rows(a))


def test_an_adopted_network_has_the_card_of_the_run_that_trained_it():
    trained = dataclasses.replace(SPEC, search="bitmixer", params={"quantizer": "lsq"})
    asked = dataclasses.replace(SPEC, search="metanetwork", params={"run": 5})
    known = card_of(asked, "run-5/layer-wise", trained)
    differing = differing_rows(known, card_of(trained, "layer-wise"))
    assert {label for label, _, _ in differing} == {"Weights"}
    assert card_of(asked).norms == "as run 5 trained them"


@pytest.mark.parametrize("name", list(SEARCHES))
def test_a_file_that_says_all_gives_the_card_of_its_run(name):
    search = SEARCHES[name]
    asked = dataclasses.replace(
        SPEC, search=name, params=dict(search.quick), pin_first_last=8, images_seed=3
    )
    said = {**asked.to_json(), "stage": PTQ}
    assert card_of_config(with_provenance(said)) == card_of(asked, PTQ)


def test_bits_of_another_tool_say_only_where_inputs_are_quantized():
    card = card_of_config(with_provenance({"imported": "hawq.json", "format": "hawq"}))
    assert {label for label, said in rows(card) if said != NOT_SAID} == {"Quantized inputs"}


def test_a_file_from_before_leaves_open_what_it_did_not_tell():
    said = {**SPEC.to_json(), "stage": PTQ}
    for key in ("objective", "pin_first_last", "images_seed", "quantizer"):
        del said[key]
    card = card_of_config(with_provenance(said))
    assert {label for label, words in rows(card) if words == NOT_SAID} == {
        "Objective",
        "First and last layer",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=examples(60), deadline=None)
@given(config=configs(), changed=st.dictionaries(st.sampled_from([*SPEC.to_json(), "stage"]), JSON))
def test_no_file_is_too_strange_for_a_card(config, changed):
    said = {**SPEC.to_json(), "stage": PTQ, **changed}
    card = card_of_config(dataclasses.replace(config, provenance=said))
    assert all(isinstance(words, str) for _, words in rows(card))


def test_codes_are_written_as_a_rule_where_there_is_one():
    assert codes_words(EVERY_CODE).startswith("2^b:")
    assert codes_words(SYMMETRIC).startswith("2^b - 1:")
    assert codes_words((2, 3, *EVERY_CODE[2:])).startswith("2 at 1, 3 at 2, 8 at 3")
