"""The record of samples holds what both networks compute, for every judge."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from qcore.add_network import add_network
from qcore.allocation import BitAllocation, LayerBits
from qcore.errors import DataUnavailable, InvalidConfig, InvalidData
from qcore.formats.config import dump_bits, parse_bits
from qcore.inputs import parse_input
from qcore.judges import JUDGES, parse_judge
from qcore.models.new_network import NewNetwork
from qcore.pictures.look import _joined as joined
from qcore.pictures.look import look_at
from qcore.pictures.record import DTYPES, Answer, SampleRecord, dump_record, parse_record
from qcore.pictures.views import VIEWS
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from qcore.scoring import verification
from qcore.scoring.evaluator import to_batches
from qcore.trees import call
from tests.qcore.test_typed_networks import MODULE, NETWORKS, columns

SEARCH = 40
CASES = {
    **{name: (*NETWORKS[name][:2], columns) for name in NETWORKS},
    # the same network under other judges: a row of numbers is a map, and a signal
    "rows as a map": (("x:float32:12",), "map:binary=true:measure=pixels", None),
    "rows as a signal": (("x:float32:12",), "signal", None),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Case to the configuration of its network at 3 bits, measured on 40 samples."""
    folder = tmp_path_factory.mktemp("looks")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDIAL_ALLOW_CODE", MODULE)
        patch.setenv("BITDIAL_DATA", str(folder / "data"))
        for number, (case, (inputs, judge, give)) in enumerate(CASES.items()):
            build = case if give else "autoencoder"
            rows = give(case) if give else {"x": columns("autoencoder")["x"]}
            np.savez(folder / f"{number}.npz", **rows)
            add_network(
                NewNetwork(
                    f"net{number}", "factory", f"{MODULE}:{build}",
                    inputs=tuple(map(parse_input, inputs)),
                    judge=parse_judge(judge) if judge else None,
                )
            )  # fmt: skip
            data = f"tensors:{folder / f'{number}.npz'}"
            spec = RunSpec(
                f"net{number}", data, "given",
                calibration_images=30, search_images=SEARCH, device="cpu",
            )  # fmt: skip
            prepared = prepare(spec)
            bits = BitAllocation({name: LayerBits(3, 32) for name in prepared.model.names})
            point = prepared.report(next(prepared.score([bits])))
            told = {"data": data, "calibration_images": 30, "search_images": SEARCH}
            found[case] = parse_bits(dump_bits(prepared.config(point, told))), point
        yield found


EVERY = pytest.mark.parametrize("case", CASES)


def answers(config):
    """What both networks return for the whole search split, and the split."""
    found = verification.rebuild(config)
    ((x, y),) = to_batches(found.data.search, 1000, "cpu", found.judge)
    with torch.inference_mode():
        return found, x, y, call(found.network, x), call(found.quantized, x)


@EVERY
def test_divergences_are_those_of_the_judge_and_of_the_search(case, made):
    config, point = made[case]
    record = look_at(config)
    assert len(record.divergence) == SEARCH == record.total
    assert record.divergence.mean() == pytest.approx(point.search.kl, rel=1e-4)
    assert record.divergence[record.worst] == record.divergence.max()
    weighted = sum(answer.weight * answer.divergence for answer in record.answers)
    assert weighted == pytest.approx(record.divergence[record.numbers], rel=1e-4, abs=1e-7)


@EVERY
def test_the_record_is_read_back_as_it_was_written(case, made):
    record = look_at(made[case][0])
    text = dump_record(record)
    assert dump_record(parse_record(text)) == text
    # plain JSON: no number that JSON does not know
    json.loads(text, parse_constant=lambda word: pytest.fail(word))


@EVERY
def test_only_samples_of_the_search_split_are_in_it(case, made):
    config, _ = made[case]
    record = look_at(config)
    found, x, *_ = answers(config)
    given = x if isinstance(x, dict) else {found.data.inputs[0].name: x}
    for panel in record.inputs:
        flat = panel.values.reshape(len(record.numbers), -1)
        wanted = given[panel.name].reshape(SEARCH, -1).numpy()
        assert np.array_equal(flat, wanted.astype(flat.dtype))


def test_every_judge_has_a_view():
    assert set(VIEWS) == set(JUDGES) - {"parts"}


def test_an_encoders_neighbours_are_those_of_all_pairs(made):
    config, _ = made["encoder"]
    found, x, _, floats, quantized = answers(config)
    (answer,) = look_at(config).answers
    for name, outputs in (("float", floats), ("quantized", quantized)):
        vectors = found.judge.read(outputs, x).double()
        for row in range(SEARCH):
            likeness = [
                (float(vectors[row] @ vectors[other]), other)
                for other in range(SEARCH)
                if other != row
            ]
            best = sorted(likeness, reverse=True)[:5]
            assert answer.arrays[f"{name}_cosine"][row] == pytest.approx(
                [cosine for cosine, _ in best], abs=1e-5
            )
            assert answer.arrays[name][row][0] == best[0][1]
    assert 1 - answer.arrays["cosine"] == pytest.approx(answer.divergence, abs=1e-5)


def test_a_texts_first_tokens_are_the_likeliest(made):
    config, _ = made["language_model"]
    _, x, _, floats, quantized = answers(config)
    record = look_at(config)
    (answer,) = record.answers
    for name, logits in (("float", floats), ("quantized", quantized)):
        shares = logits.softmax(2)
        assert np.array_equal(answer.arrays[name], shares.argmax(2).numpy())
        assert answer.arrays[f"{name}_p"] == pytest.approx(shares.amax(2).numpy(), abs=1e-6)
    assert np.array_equal(answer.arrays["counts"], x["mask"].numpy().astype(bool))
    counted = answer.arrays["counts"]
    mean = (answer.arrays["divergence"] * counted).sum(1) / counted.sum(1)
    assert mean == pytest.approx(record.divergence, rel=1e-4, abs=1e-7)
    # without a tokenizer its tokens are numbers
    assert (record.word(7), record.words) == ("7", {})


def test_several_outputs_are_shown_one_by_one(made):
    config, _ = made["detector"]
    _, _, labels, floats, quantized = answers(config)
    record = look_at(config)
    first, second = record.answers
    assert (first.judge.output, second.judge.output) == ("what", "where")
    for name, outputs in (("float", floats), ("quantized", quantized)):
        shares = outputs["what"].softmax(1).numpy()
        assert first.arrays[name] == pytest.approx(shares, abs=1e-6)
    assert first.arrays["classes"].tolist() == [[0, 1, 2]] * SEARCH
    assert np.array_equal(record.labels, labels.numpy())


def test_an_autoencoder_gives_its_curves(made):
    config, _ = made["autoencoder"]
    _, _, _, floats, quantized = answers(config)
    (answer,) = look_at(config).answers
    assert answer.form == "curves"
    assert np.array_equal(answer.arrays["float"][:, 0], floats.numpy())
    assert np.array_equal(answer.arrays["quantized"][:, 0], quantized.numpy())


def test_a_map_gives_each_place(made):
    config, _ = made["rows as a map"]
    _, _, _, floats, quantized = answers(config)
    record = look_at(config)
    (answer,) = record.answers
    for name, outputs in (("float", floats), ("quantized", quantized)):
        assert answer.arrays[name][:, 0, 0] == pytest.approx(outputs.sigmoid().numpy(), abs=1e-6)
    places = answer.arrays["divergence"][:, 0, 0].mean(1)
    assert places == pytest.approx(record.divergence, rel=1e-4, abs=1e-7)


def test_the_worst_are_kept_first_where_not_all_fit(made):
    config, _ = made["autoencoder"]
    whole = look_at(config)
    one = sum(v[:1].nbytes for v in (whole.inputs[0].values, *whole.answers[0].arrays.values()))
    few = look_at(config, most_bytes=20 * one)
    assert len(few.numbers) == 20
    assert set(np.argsort(-whole.divergence, kind="stable")[:16]) <= set(few.numbers.tolist())
    assert np.array_equal(few.divergence, whole.divergence)
    assert len(look_at(config, most_bytes=1).numbers) == 1
    lacking = next(n for n in range(SEARCH) if n not in few.numbers)
    with pytest.raises(InvalidData, match=f"Sample {lacking} is not kept"):
        few.place(lacking)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"state": {}}, InvalidConfig, "bits alone: measure it first"),
        ({"provenance": {}}, InvalidConfig, "on which data"),
        ({"provenance": {"data": "tensors:/nowhere.npz"}}, DataUnavailable, "nowhere"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(change, kind, words, made):
    with pytest.raises(kind, match=words):
        look_at(replace(made["encoder"][0], **change))


def test_outputs_that_change_their_shape_are_refused():
    rows = [{"float": np.zeros((2, size))} for size in (3, 4)]
    with pytest.raises(InvalidData, match=r"from batch to batch: \(3,\) and \(4,\)"):
        joined(parse_judge("signal"), rows)


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_of_every_kind_of_numbers_are_read_back(dtype, made):
    record = look_at(made["autoencoder"][0])
    (answer,) = record.answers
    given = np.arange(SEARCH).reshape(SEARCH, 1, 1).astype(dtype)
    written = replace(record, answers=(replace(answer, arrays={"true": given}),))
    found = parse_record(dump_record(written)).answers[0].arrays["true"]
    assert found.dtype == given.dtype
    assert np.array_equal(found, given)


def test_a_single_sample_has_no_neighbour():
    (direction,) = [np.ones((1, 2), np.float32) / 2**0.5]
    found = joined(parse_judge("embedding"), [{"float": direction, "quantized": direction}])
    assert found["float"].shape == (1, 0)
    record = SampleRecord(
        "n", "d", parse_judge("embedding"), np.zeros(1), 1, np.zeros(1, int), (),
        (Answer(parse_judge("embedding"), 1.0, np.zeros(1), found),),
    )  # fmt: skip
    assert parse_record(dump_record(record)).answers[0].arrays["float"].shape == (1, 0)


def test_other_samples_than_those_measured_are_refused(made):
    config, _ = made["encoder"]
    told = {**config.provenance, "data_digest": "0" * 64}
    with pytest.raises(DataUnavailable, match="not those it was measured on"):
        look_at(replace(config, provenance=told))


DAMAGE = {
    "no JSON": lambda d: "{",
    "another file": lambda d: json.dumps({"format": "x"}),
    "an array cut short": lambda d: json.dumps({**d, "numbers": {**d["numbers"], "base64": "AA"}}),
    "objects in an array": lambda d: json.dumps({**d, "numbers": {**d["numbers"], "dtype": "O"}}),
    "fewer samples in one": lambda d: json.dumps({**d, "numbers": _two()}),
    "an unknown judge": lambda d: json.dumps({**d, "judge": {"name": "x"}}),
    "a list": lambda d: "[]",
}


def _two():
    return {"dtype": "int64", "shape": [2], "base64": "AAAAAAAAAAABAAAAAAAAAA=="}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_record_is_said_to_be_that(case, made):
    document = json.loads(dump_record(look_at(made["autoencoder"][0])))
    with pytest.raises(InvalidData, match="computed again"):
        parse_record(DAMAGE[case](document))
