"""GGUF files are read by their head alone: as bits of a network, or refused in words."""

import random
import struct
import time

import pytest

from qcore.allocation import FLOAT16, FLOAT_BITS, LayerSpec, ModelSpec
from qcore.errors import InvalidConfig
from qcore.formats.exports import EXPORTS
from qcore.formats.exports.language_models.llama_quantize import types
from qcore.formats.gguf.header import Tensor, read_file, read_head
from qcore.formats.gguf.match import stored
from qcore.formats.gguf.types import TYPES
from qcore.formats.imports import IMPORTS, read_allocations
from tests import configs
from tests.qcore.formats.gguf.language_nets import gpt2, linear, llama, of, write_gguf

MODEL = llama(1)
CODES = [kind for kind in TYPES.values() if kind.name not in ("f32", "f16")]


def outcome(data):
    """What a file says, or the words it is refused with."""
    try:
        return read_allocations(data, MODEL).choices
    except InvalidConfig as error:
        return str(error)


def test_the_head_is_what_the_packages_own_reader_finds(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = write_gguf(tmp_path / "a.gguf", MODEL, "q4_K")
    theirs = gguf.GGUFReader(path)
    head = read_file(path)
    assert head.said == {"general.architecture": "llama", "general.name": "made up"}
    assert head.tensors == tuple(
        Tensor(each.name, tuple(int(size) for size in each.shape), int(each.tensor_type))
        for each in theirs.tensors
    )
    found = stored(head, MODEL)
    assert found.bytes == sum(t.n_bytes for t in theirs.tensors if t.name != "output_norm.weight")


@pytest.mark.parametrize("model", [llama(3), llama(2, tied=True), gpt2(2), llama(1, 384, 1024)])
def test_what_llama_quantize_is_told_is_read_back_from_the_file(model, tmp_path):
    config = of(model, 2, 3, 4, 5, 6, 8, FLOAT16, FLOAT_BITS)
    chosen = {name: kind.name for name, kind in types(config).items()}
    path = write_gguf(tmp_path / "a.gguf", model, chosen)
    found = read_allocations(path.read_bytes(), model)
    assert found.format == "gguf"
    wider = EXPORTS["gguf"].report(config)["widened"]
    (bits,) = found.choices.values()
    for name in model.names:
        if name not in wider:
            assert bits[name].weight == config.allocation[name].weight
        assert bits[name].activation == FLOAT_BITS
    (notes,) = found.notes.values()
    taken = read_file(path)
    assert f"{stored(taken, model).bytes:,} B" in " ".join(notes)


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.name)
def test_every_type_says_its_true_size_and_the_width_it_is_taken_as(kind, tmp_path):
    path = write_gguf(tmp_path / "a.gguf", MODEL, kind.name)
    found = read_allocations(path.read_bytes(), MODEL)
    assert {bits.weight for bits in found.choices[""].values()} == {kind.width}
    text = " ".join(found.notes[""])
    assert f"{kind.name} has {kind.bits_per_weight:g} bits a weight" in text
    assert f"{kind.bits_per_weight:.4g} bits a weight with scales" in text


def test_a_head_that_reads_the_embedding_has_its_type(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", MODEL, "q6_K", leave_out=["output.weight"])
    found = read_allocations(path.read_bytes(), MODEL)
    assert found.choices[""]["lm_head"].weight == 6
    assert "no tensor for lm_head" in " ".join(found.notes[""])
    layers = {layer.name: layer.weights for layer in MODEL.layers}
    once = sum(layers.values()) - layers["lm_head"]
    assert stored(read_file(path), MODEL).weights == once


def test_layers_that_gguf_has_no_tensor_for_stay_float_and_are_named(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", MODEL, "q4_K")
    more = ModelSpec("more", "0" * 64, (*MODEL.layers, linear("score", 3, 256)))
    found = read_allocations(path.read_bytes(), more)
    assert found.choices[""]["score"].weight == FLOAT_BITS
    assert "no tensor for score" in " ".join(found.notes[""])


def test_the_beginning_of_a_file_is_enough_when_the_head_is_whole(tmp_path):
    data = write_gguf(tmp_path / "a.gguf", MODEL, "q4_K").read_bytes()
    whole = read_allocations(data, MODEL).choices
    ends = range(4, len(data), 997)
    found = [outcome(data[:end]) for end in ends]
    refused = [words for words in found if isinstance(words, str)]
    assert all("ends inside its head" in words for words in refused)
    assert all(choices == whole for choices in found[len(refused) :])
    assert 0 < len(refused) < len(ends)


@pytest.mark.parametrize("model", [llama(1, 512), llama(3), gpt2(1), configs.RESNET8])
def test_a_file_of_another_network_is_refused(model, tmp_path):
    data = write_gguf(tmp_path / "a.gguf", MODEL, "q4_K").read_bytes()
    with pytest.raises(InvalidConfig, match="Choose the network the file was made from"):
        read_allocations(data, model)


def test_vocabularies_may_be_padded_but_not_rows(tmp_path):
    data = write_gguf(tmp_path / "a.gguf", llama(1, words=320), "q4_K").read_bytes()
    assert read_allocations(data, MODEL).choices[""]["lm_head"].weight == 4


def head(tensors=1, keys=0, version=3, body=b""):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def text(words):
    return struct.pack("<Q", len(words)) + words


def tensor(name=b"a", shape=(256,), kind=12):
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, 0)


MOST = 2**64 - 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GGUF", "ends inside its head"),
        (head(), "ends inside its head"),
        (head(version=1), "version 1"),
        (head(version=77), "version"),
        (head(tensors=0), "0 tensors"),
        (head(tensors=MOST), "tensors; 1 to"),
        (head(keys=MOST), "ends inside"),
        (head(keys=MOST, body=bytes(2**20)), r"at most 65,536 are read"),
        (head(keys=1, body=struct.pack("<Q", MOST)), "ends inside"),
        (head(keys=1, body=text(b"k") + struct.pack("<I", 99)), "kind 99"),
        (head(keys=1, body=text(b"k") + struct.pack("<IIQ", 9, 8, MOST)), "ends inside"),
        (head(keys=1, body=text(b"k") + struct.pack("<IIQ", 9, 4, MOST)), "ends inside"),
        (head(keys=1, body=text(b"k") + struct.pack("<IIQ", 9, 77, 5)), "kind 77"),
        (head(keys=1, body=text(b"k") + struct.pack("<IIQ", 9, 9, 1) * 9), "kind 9"),
        (head(body=tensor(shape=(1,) * 9)), "9 dimensions"),
        (head(body=tensor(shape=(MOST, MOST))), "weights. Is the file damaged"),
        (head(tensors=2, body=tensor() * 2), "two tensors named"),
        (head(body=tensor()), "lacks 9 of the 9"),
    ],
)
def test_hostile_files_are_refused_in_words(data, said):
    started = time.process_time()
    with pytest.raises(InvalidConfig, match=said):
        read_allocations(data, MODEL)
    assert time.process_time() - started < 1


def test_types_and_shapes_that_cannot_be_are_refused():
    one = ModelSpec("one", "0" * 64, (linear("model.layers.0.mlp.up_proj", 4, 256),))
    name = b"blk.0.ffn_up.weight"
    good = head(body=tensor(name, (256, 4)))
    assert read_allocations(good, one).choices[""]["model.layers.0.mlp.up_proj"].weight == 4
    with pytest.raises(InvalidConfig, match="has type 4321, which is not known"):
        read_allocations(head(body=tensor(name, (256, 4), 4321)), one)
    for shape in ((4, 256), (256, 5), (1024,), (), (256, 0)):
        with pytest.raises(InvalidConfig, match="Choose the network"):
            read_allocations(head(body=tensor(name, shape)), one)
    short = ModelSpec("s", "0" * 64, (linear("model.layers.0.mlp.up_proj", 4, 100),))
    with pytest.raises(InvalidConfig, match="no whole blocks of 256"):
        read_allocations(head(body=tensor(name, (100, 4))), short)


def test_a_damaged_file_never_gives_more_than_words(tmp_path):
    data = bytearray(write_gguf(tmp_path / "a.gguf", MODEL, "q4_K", words=5).read_bytes()[:1500])
    rng = random.Random(0)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(4, len(broken))] = rng.randrange(256)
        assert len(outcome(bytes(broken))) < 700


def test_numbers_with_the_large_end_first_are_read():
    body = struct.pack(">Q", 1) + b"a" + struct.pack(">IQIQ", 1, 256, 12, 0)
    data = b"GGUF" + struct.pack(">IQQ", 3, 1, 0) + body
    assert read_head(data).tensors == (Tensor("a", (256,), 12),)


def test_a_path_that_cannot_be_read_is_refused(tmp_path):
    empty = tmp_path / "empty.gguf"
    empty.touch()
    for path in (tmp_path / "none.gguf", tmp_path, empty):
        with pytest.raises(InvalidConfig, match="Cannot read"):
            read_file(path)


def test_one_of_several_parts_says_so(tmp_path):
    key = text(b"split.count") + struct.pack("<IH", 2, 3)
    with pytest.raises(InvalidConfig, match="one of 3 parts"):
        read_allocations(head(keys=1, body=key + tensor()), MODEL)


def test_no_other_format_takes_a_gguf_file(tmp_path):
    data = write_gguf(tmp_path / "a.gguf", MODEL, "q4_K").read_bytes()
    for name in set(IMPORTS) - {"gguf"}:
        with pytest.raises(InvalidConfig, match="not one of"):
            read_allocations(data, MODEL, name)


def test_experts_are_found_in_their_one_tensor():
    layers = tuple(
        LayerSpec(f"model.layers.0.mlp.experts.{at}.up_proj", "linear", 1024, 4, 0, 1, 1, 1, 256)
        for at in (0, 1)
    )
    data = head(body=tensor(b"blk.0.ffn_up_exps.weight", (256, 4, 2), 14))
    found = read_allocations(data, ModelSpec("moe", "0" * 64, layers))
    assert {bits.weight for bits in found.choices[""].values()} == {6}
