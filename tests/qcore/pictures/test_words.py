"""Tokens are shown as words where a tokenizer's file tells them, and as numbers elsewhere."""

import json

import pytest

from qcore.pictures.words import chosen_words, read_words, tokenizer_places

FILES = {
    "wordpiece": (
        {"model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "play": 1, "##ing": 2}}},
        {0: "[PAD]", 1: "play", 2: "##ing"},
    ),
    "bytes": (
        {
            "model": {"type": "BPE", "vocab": {"\u0120the": 0, "\u00c3\u00a9": 1, "\u010a": 2}},
            "decoder": {"type": "ByteLevel"},
            "added_tokens": [{"id": 3, "content": "<|end|>"}],
        },
        {0: " the", 1: "\u00e9", 2: "\n", 3: "<|end|>"},
    ),
    "unigram": (
        {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["\u2581no", -1.5]]}},
        {0: "<unk>", 1: " no"},
    ),
    "a very long piece": ({"model": {"vocab": {"x" * 500: 0}}}, {0: "x" * 39 + "…"}),
}


@pytest.mark.parametrize("name", FILES)
def test_words_of_every_kind_of_tokenizer(name, tmp_path):
    document, wanted = FILES[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_words(tmp_path / "tokenizer.json") == wanted


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "null", '{"model": 1}', '{"model": {"vocab": 3}}', "[" * 100_000,
     '{"model": {"vocab": {"a": "b"}}}', '{"model": {"vocab": []}, "added_tokens": [1]}'],
)  # fmt: skip
def test_what_is_no_tokenizer_tells_no_word(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    assert read_words(tmp_path / "tokenizer.json") == {}
    assert read_words(tmp_path / "missing.json") == {}


def test_words_of_another_vocabulary_are_not_used():
    found = {0: "a", 1: "b", 2: "c"}
    assert chosen_words(found, [2, 0, 9], 3) == {0: "a", 2: "c"}
    assert chosen_words(found, [2, 0], 30) == {0: "a", 2: "c"}
    assert chosen_words(found, [0], 2) == {}
    assert chosen_words({}, [0], 2) == {}


def test_a_tokenizer_is_looked_for_beside_the_data_and_then_the_network(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    (tmp_path / "texts").mkdir()
    beside = tokenizer_places("net", f"tensors:{tmp_path / 'x.npz'}")
    inside = tokenizer_places("net", f"tensors:{tmp_path / 'texts'}")
    own = tmp_path / "data" / "networks" / "net" / "tokenizer.json"
    assert beside == [tmp_path / "tokenizer.json", own]
    assert inside == [tmp_path / "texts" / "tokenizer.json", own]
    assert tokenizer_places("net", "gone") == [own]
    assert tokenizer_places("../evil", "gone") == []
    # a network that was added as a folder keeps it below
    (own.parent / "whole").mkdir(parents=True)
    (own.parent / "whole" / "tokenizer.json").touch()
    assert tokenizer_places("net", "gone") == [own, own.parent / "whole" / "tokenizer.json"]
