import dataclasses
import pickle

import numpy as np
import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.data import Data, Images
from qcore.errors import InvalidParams
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.prepare import Prepared
from qcore.problem import Problem
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import TuningParams
from qcore.scoring.evaluator import Evaluator
from qcore.scoring.executors import EVALUATORS, check_address, make_recipe, open_evaluator
from qcore.scoring.executors.pack import pack_evaluator
from qcore.scoring.executors.recipe import Newest
from tests.qcore.scoring.toy_evaluator import ToyPrepared, build_toy, search


@pytest.mark.parametrize(
    "address", ["inline", "procs:1", "procs:16", "tcp://10.0.0.5:8786", "tls://[::1]:8786"]
)
def test_addresses_that_are_right(address):
    check_address(address)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "Unknown evaluator address"),
        ("http://host:80", "Unknown evaluator address 'http://host:80'; known: inline, procs:N"),
        ("inline:2", "Unknown evaluator address"),
        ("procs", "whole number of processes"),
        ("procs:0", "whole number of processes, 1 or more"),
        ("procs:-1", "whole number of processes"),
        ("procs:x", "whole number of processes"),
        ("procs:2.5", "whole number of processes"),
        ("tcp://host", "names no port"),
        ("tcp://host:0", "names no port"),
        ("tcp://:8786", "names no host"),
        ("tcp://host:70000", "out of range"),
        ("tcp://host:port", "is no cluster address"),
        ("tls://host:8786/x", "more than a host and a port"),
        ("tcp://me@host:8786", "more than a host and a port"),
    ],
)
def test_addresses_that_are_wrong_are_refused_in_words(address, words):
    with pytest.raises(InvalidParams) as refused:
        check_address(address)
    assert words in str(refused.value)


def test_a_wrong_address_opens_nothing(tmp_path):
    with pytest.raises(InvalidParams), open_evaluator("procs:0", ToyPrepared(tmp_path)):
        pytest.fail("opened")


def test_every_scheme_that_is_accepted_can_be_opened():
    assert set(EVALUATORS) == {"inline", "procs", "tcp", "tls"}


def test_inline_scores_here_without_a_recipe(tmp_path):
    prepared = ToyPrepared(tmp_path)
    with open_evaluator("inline", prepared) as score:
        points = search(prepared, score)
    assert len(points) == 24 == prepared.count("begun")
    assert prepared.recipes == 0


def test_the_key_of_a_recipe_names_stage_function_and_every_byte():
    arrays = {"a": np.arange(6, dtype=np.uint8)}
    same = {"a": np.arange(6, dtype=np.uint8)}
    base = make_recipe("ptq", build_toy, (b"w", arrays, 1.0))
    assert make_recipe("ptq", build_toy, (b"w", same, 1.0)).key == base.key
    others = [
        make_recipe("ptq+tuned", build_toy, (b"w", arrays, 1.0)),
        make_recipe("ptq", ToyPrepared, (b"w", arrays, 1.0)),
        make_recipe("ptq", build_toy, (b"v", arrays, 1.0)),
        make_recipe("ptq", build_toy, (b"w", arrays, 1)),
        make_recipe("ptq", build_toy, (b"w", {"a": arrays["a"].astype(np.int8)}, 1.0)),
        make_recipe("ptq", build_toy, (b"w", {"a": arrays["a"].reshape(2, 3)}, 1.0)),
        make_recipe("ptq", build_toy, (b"w", {"b": arrays["a"]}, 1.0)),
        make_recipe("ptq", build_toy, (b"w", arrays, 1.0), device="cuda"),
        make_recipe("ptq", build_toy, (b"", b"w", arrays, 1.0)),
    ]
    assert len({base.key, *(recipe.key for recipe in others)}) == 1 + len(others)


def test_a_recipe_takes_plain_data_only():
    with pytest.raises(InvalidParams, match="Tensor cannot travel"):
        make_recipe("ptq", build_toy, (torch.zeros(2),))


def test_newest_keeps_what_was_used_last():
    kept, made = Newest(2), []

    def make(name):
        return kept.get(name, lambda: made.append(name) or name.upper())

    assert [make(name) for name in "abacab"] == ["A", "B", "A", "C", "A", "B"]
    assert made == ["a", "b", "c", "b"]
    assert kept.find("c") is None
    assert kept.find("a") == "A"
    kept.drop("a")
    assert kept.find("a") is None


@pytest.fixture(scope="module")
def resnet8():
    """resnet8 on 128 + 128 + 32 images of seeded noise, prepared by hand."""
    draw = torch.Generator().manual_seed(1)

    def images(count):
        pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=draw, dtype=torch.uint8)
        labels = torch.randint(0, 10, (count,), generator=draw)
        return Images(pixels, labels, (0.286,), (0.353,))

    calibration, split, test = images(128), images(128), images(32)
    data = Data(
        "noise", 10, tuple("abcdefghij"), (0.286,), (0.353,), (1, 28, 28),
        calibration, split, test, "d" * 64,
    )  # fmt: skip
    network, tuning = load_model("resnet8"), TuningParams(steps=3)
    found = find_layers(network, next(calibration.batches(1, "cpu"))[0], "resnet8")
    evaluator = Evaluator(QuantizedModel(network, found), data, "cpu", tuning, batch_size=50)

    def pack(stage):
        return pack_evaluator(stage, network, found.spec, data, "cpu", 50, tuning)

    return Prepared(Problem(found.spec, {}), evaluator, data.digest, pack)


def mixed(prepared, count):
    rng = np.random.default_rng(0)
    widths = [(int(w), int(a)) for w in (2, 3, 4, 8, 32) for a in (3, 8, 32)]
    layers = prepared.model.layers
    return [
        BitAllocation({s.name: LayerBits(*widths[rng.integers(len(widths))]) for s in layers})
        for _ in range(count)
    ]


def test_a_rebuilt_network_scores_the_same_to_the_last_bit(resnet8):
    rebuilt = pickle.loads(pickle.dumps(resnet8.recipe("ptq"))).context()
    asked = mixed(resnet8, 3)
    for stage, images in (("ptq", None), ("ptq", (100, 64)), ("ptq+tuned", None)):
        here = [dataclasses.replace(p, seconds=0) for p in resnet8.score(asked, stage, images)]
        # in another order: nothing may hang on what was scored before
        there = [
            dataclasses.replace(p, seconds=0) for p in rebuilt.score(asked[::-1], stage, images)
        ]
        assert here == there[::-1]
    assert len({point.search.kl for point in resnet8.score(asked)}) == 3


def test_what_travels_is_weights_and_images_but_no_test_image(resnet8):
    recipe = resnet8.recipe("ptq")
    packed = len(pickle.dumps(recipe))
    weights = sum(v.nbytes for v in load_model("resnet8").state_dict().values())
    assert 256 * 784 < packed < 256 * 784 + weights + 40_000
    test = resnet8.evaluator._test_images.pixels[0].numpy().tobytes()
    assert test not in pickle.dumps(recipe)
    split = recipe.arguments[3]["pixels"]
    assert split[0].tobytes() in pickle.dumps(recipe)
    assert recipe.key == resnet8.recipe("ptq").key != resnet8.recipe("ptq+tuned").key


def test_stages_that_cannot_travel_are_named(resnet8):
    with pytest.raises(InvalidParams, match="'round-1/weights' cannot be scored elsewhere"):
        resnet8.recipe("round-1/weights")
    by_hand = dataclasses.replace(resnet8, pack=None)
    with pytest.raises(InvalidParams, match="inline"):
        by_hand.recipe("ptq")


def test_a_process_scores_resnet8_like_this_one(resnet8):
    asked = mixed(resnet8, 2)
    here = [(p.key, p.search) for p in resnet8.score(asked)]
    with open_evaluator("procs:1", resnet8) as score:
        there = [(p.key, p.search) for p in score(asked, "ptq", None)]
    assert here == there
