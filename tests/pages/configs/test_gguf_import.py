"""What a GGUF file chose stands beside the exact optimum at the bytes that it takes."""

import itertools

import pytest
from streamlit.testing.v1 import AppTest

from pages.configs.equal_bytes import damage_of, optimum_at
from pages.shared.text import literal
from qcore.allocation import BitAllocation, LayerBits, ModelSpec
from qcore.costs.user_tables import read_costs
from qcore.formats.gguf.header import read_file
from qcore.formats.gguf.match import stored
from qcore.formats.gguf.price import GGUF_BYTES, stored_bytes
from qcore.formats.imports import read_gguf
from qcore.problem import SensitivityTable
from tests.pages.configs.gguf_page import MODEL, table
from tests.pages.test_app import texts
from tests.qcore.formats.gguf.language_nets import linear, write_gguf

CHOSEN = {
    "token_embd.weight": "q4_K",
    "blk.0.attn_q.weight": "q4_K",
    "blk.0.attn_k.weight": "iq4_xs",
    "blk.0.attn_v.weight": "q6_K",
    "blk.0.attn_output.weight": "q4_K",
    "blk.0.ffn_gate.weight": "q4_K",
    "blk.0.ffn_up.weight": "q3_K",
    "blk.0.ffn_down.weight": "q6_K",
    "output.weight": "q6_K",
}


@pytest.fixture
def file(tmp_path):
    return write_gguf(tmp_path / "mixed-Q4_K_M.gguf", MODEL, CHOSEN)


def test_the_optimum_takes_no_more_bytes_and_is_the_best_of_all(tmp_path):
    parts = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
    sizes = ((64, 256), (256, 96), (512, 256), (128, 512))
    layers = tuple(
        linear(f"model.layers.0.{part}", *size) for part, size in zip(parts, sizes, strict=True)
    )
    model = ModelSpec("small", "0" * 64, layers)
    widths = (2, 3, 4, 6, 8)
    scores = {
        each.name: {b: (3 + i * i) * 3.0**-b for b in widths} for i, each in enumerate(layers)
    }
    kinds = ("q6_K", "q8_0", "q3_K", "iq4_xs")
    names = ("attn_q", "attn_output", "ffn_up", "ffn_down")
    chosen = {f"blk.0.{name}.weight": kind for name, kind in zip(names, kinds, strict=True)}
    head = read_file(write_gguf(tmp_path / "a.gguf", model, chosen))
    limit = stored_bytes(stored(head, model), model)
    assert limit == stored(head, model).bytes
    best, damage, taken = optimum_at(
        head, model, SensitivityTable("kl", "nats", scores), read_costs()
    )
    found = []
    for choice in itertools.product(widths, repeat=len(layers)):
        bits = {each.name: LayerBits(b) for each, b in zip(layers, choice, strict=True)}
        if GGUF_BYTES.total(model, bits) <= limit:
            found.append(sum(scores[name][each.weight] for name, each in bits.items()))
    assert damage == pytest.approx(min(found))
    assert taken == GGUF_BYTES.total(model, best) <= limit


def test_the_optimum_is_never_worse_than_the_file_where_its_types_are_those_offered(file):
    head = read_file(file)
    best, damage, _ = optimum_at(head, MODEL, table(), read_costs())
    mine = damage_of(table(), read_gguf(file, MODEL).choices[""])
    assert mine is not None
    assert damage <= mine
    assert damage == pytest.approx(damage_of(table(), best))


def test_nothing_fits_or_is_known_without_guessing(file):
    head = read_file(file)
    assert optimum_at(head, MODEL, table((8,)), read_costs()) is None
    assert damage_of(table((2, 8)), BitAllocation.uniform(MODEL.layers, 4)) is None


def page(known):
    script = f"from tests.pages.configs.gguf_page import draw\ndraw({known})"
    at = AppTest.from_string(script, default_timeout=120).run()
    assert not at.exception
    return at


def test_a_path_gives_bits_true_bytes_and_the_optimum(place, file):
    at = page(True)
    at.text_input(key="import-path").set_value(str(file)).run()
    assert not at.exception
    said = texts(at)
    assert [each.value for each in at.success] == ["Read as GGUF file (types of its tensors)."]
    assert literal("q6_K has 6.5625 bits a weight with its scales and is taken as 6 bits") in said
    assert "Predicted damage, not measured" in said
    assert f"{stored(read_file(file), MODEL).bytes:,} B" in said
    assert at.selectbox(key="import-against").options[0] == "exact optimum at the file's bytes"
    assert at.button(key="import-optimum")


def test_without_a_sensitivity_the_page_says_what_to_start(place, file):
    at = page(False)
    at.text_input(key="import-path").set_value(str(file)).run()
    assert not at.exception
    assert "No sensitivity of this network is stored yet" in texts(at)


def test_a_wrong_path_or_file_is_told_in_words(place, tmp_path):
    at = page(False)
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF\x03")
    for path, words in ((wrong, "ends inside its head"), (tmp_path / "<b>.gguf", "Cannot read")):
        at.text_input(key="import-path").set_value(str(path)).run()
        assert not at.exception
        (error,) = at.error
        assert words in error.value
        assert "/<b>" not in error.value
