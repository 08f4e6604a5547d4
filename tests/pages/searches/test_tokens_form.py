"""Networks with tokens begin with finer widths; all others, and runs that are repeated, do not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from qcore.judges import CLASSES, Judge
from qcore.judges.embedding import Embedding
from qcore.judges.parts import Parts
from qcore.judges.signal import Signal
from qcore.judges.tokens import Tokens
from qcore.models.cards import Card, write_card
from qcore.models.preprocessing import Preprocessing
from qcore.run_spec import RunSpec
from qcore.searches.usual_widths import TOKEN_WIDTHS, USUAL_WIDTHS, has_tokens, usual_widths
from store import all_runs, create_run
from tests.pages import sample
from tests.pages.test_searches import press

TOKENS = Tokens(ids="ids")
BOTH = Parts(parts=(Signal(), TOKENS), weights=(1.0, 1.0))
KEY = "f-weights-tokens"


def network(name: str, judge: Judge, place: Path) -> None:
    steps = Preprocessing(1, 8, 8, mean=(0.5,), std=(0.5,))
    card = Card(
        name, name, "onnx", "onnx2torch", (1, 8, 8), 4, steps,
        data=(f"tensors:{place / 'all.npz'}",), judge=judge,
    )  # fmt: skip
    np.savez(place / "all.npz", x=np.zeros(1))
    write_card(card, None, dataclasses.replace(sample.MODEL, name=name))


@pytest.mark.parametrize(
    ("judge", "wanted"),
    [(CLASSES, False), (Signal(), False), (TOKENS, True), (Embedding(), True), (BOTH, True)],
)
def test_a_judge_of_tokens_or_of_embeddings_tells(judge, wanted):
    assert has_tokens(judge, None) is wanted
    assert has_tokens(judge, sample.MODEL) is wanted


def test_a_table_that_ids_are_looked_up_in_tells():
    first, *others = sample.MODEL.layers
    model = dataclasses.replace(
        sample.MODEL, layers=(dataclasses.replace(first, kind="embedding"), *others)
    )
    assert has_tokens(CLASSES, model)


def test_linear_layers_of_attention_tell_by_their_names():
    first, *others = sample.MODEL.layers

    def told(name, kind="linear"):
        layer = dataclasses.replace(first, name=name, kind=kind)
        return usual_widths(CLASSES, dataclasses.replace(sample.MODEL, layers=(layer, *others)))

    for name in (
        "encoder.layers.encoder_layer_0.self_attention.q_proj",  # torchvision
        "blocks.3.attn.qkv",  # timm
        "features.1.0.attn.proj",
        "bert.encoder.layer.0.attention.output.dense",
        "model.layers.0.self_attn.o_proj",
        "transformer.h.0.attn.c_proj",
        "decoder.layers.0.multihead_attn.out_proj",
    ):
        assert told(name) == TOKEN_WIDTHS, name
    for name in ("fc", "inattentive.0", "layer1.attributes", "classifier.1"):
        assert told(name) == USUAL_WIDTHS, name
    assert told("cbam.attention.conv", "conv2d") == USUAL_WIDTHS
    assert usual_widths(CLASSES, None) == USUAL_WIDTHS


def test_a_network_with_tokens_begins_with_finer_widths(app, store, place):
    network("reader", TOKENS, place)
    at = app("searches", model="reader", search="Uniform bits")
    pills = next(each for each in at.button_group if each.key == KEY)
    assert tuple(pills.value) == TOKEN_WIDTHS
    press(at, "Start search")
    assert {entry.spec.weight_bits for entry in all_runs(store)} == {TOKEN_WIDTHS}
    assert RunSpec("reader", "", "uniform").weight_bits == (2, 3, 4, 8)


def test_a_run_that_is_taken_after_keeps_its_own_widths(app, store, place):
    network("reader", TOKENS, place)
    like = dataclasses.replace(sample.spec_of("uniform", weight_bits=(3, 8)), model="reader")
    run_id = create_run(store, like)
    at = app("searches", model="reader", like=str(run_id))
    pills = next(each for each in at.button_group if each.key == f"f-weights-{run_id}")
    assert tuple(pills.value) == (3, 8)
