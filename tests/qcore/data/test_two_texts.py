"""Documents of several texts, for networks that take several: a field for each of them."""

import json

import pyarrow
import pytest
import torch
from pyarrow import parquet

from qcore.add_network import add_network
from qcore.data import load_data
from qcore.data.text_roles import field_of, text_roles
from qcore.data.texts import text_data
from qcore.errors import InvalidData
from qcore.inputs import parse_input
from qcore.models.new_network import NewNetwork
from tests.hugging_folders import WORDS, tokenizer
from tests.qcore.models.loading.test_hugging import writer

PAIR = tuple(
    map(
        parse_input,
        ("query_ids:int64:6<60=0", "query_mask:int64:6", "passage_ids:int32:9<60=0",
         "passage_mask:bool:9", "passage_type_ids:int64:9", "memory:float32:4=zeros"),
    )
)  # fmt: skip


def objects(n=12):
    """Pairs of a short and a longer text, no two alike."""
    return [
        {"query": f"w{at} w1", "passage": f"w2 w{at} w{at + 1}", "label": at % 2} for at in range(n)
    ]


def write(path, found):
    path.write_text("".join(json.dumps(each) + "\n" for each in found), encoding="utf-8")
    tokenizer(path.parent / "tokenizer.json")
    return path


def read(path, inputs=PAIR):
    return text_data("texts:pairs", path, inputs, (4, 4), 0, False, None, 100)


def ids_of(text, length):
    ids = [2, *(WORDS.index(word) for word in text.split()), 3]
    return ids + [0] * (length - len(ids))


@pytest.mark.parametrize("kind", ["jsonl", "folder", "parquet"])
def test_each_text_fills_its_own_ids_and_mask(kind, tmp_path):
    if kind == "parquet":
        tokenizer(tmp_path / "tokenizer.json")
        path = tmp_path / "pairs.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(objects()), path)
    else:
        path = write(tmp_path / "pairs.jsonl", objects())
    data = read(tmp_path if kind == "folder" else path)
    seen = []
    for split in (data.calibration, data.search, data.test):
        x = split.columns
        assert x["passage_ids"].dtype == torch.int32
        assert torch.equal(x["query_mask"], (x["query_ids"] > 0).long())
        assert torch.equal(x["passage_mask"], x["passage_ids"] > 0)
        assert not x["passage_type_ids"].any()
        assert not x["memory"].any()
        seen += zip(x["query_ids"].tolist(), x["passage_ids"].tolist(), strict=True)
    wanted = [(ids_of(each["query"], 6), ids_of(each["passage"], 9)) for each in objects()]
    assert sorted(seen) == sorted(wanted)
    assert any("passage_ids the field 'passage'" in note for note in data.notes)


def test_pairs_alike_in_both_texts_are_one_and_an_empty_text_is_left_out(tmp_path):
    same = {"query": "w0 w1", "passage": "w9"}
    found = [*objects(), objects()[0], same, {"query": "w5", "passage": " "}]
    data = read(write(tmp_path / "pairs.jsonl", found))
    assert sum(map(len, (data.calibration, data.search, data.test))) == 13
    assert sum("left out" in note for note in data.notes) == 2


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"query": "w1", "text": "w2"}, r"line 13 .*'query', 'passage'; 'passage' is none.*text"),
        ({"query": "w1", "passage": 3}, "'passage' is none"),
        ({"query": "w1", "passage": "w2", "label": [1]}, "the label is a list"),
    ],
)
def test_an_object_without_a_text_is_refused_by_its_line(found, words, tmp_path):
    with pytest.raises(InvalidData, match=words):
        read(write(tmp_path / "pairs.jsonl", [*objects(), found]))


def test_files_of_one_text_are_refused_with_the_shape_that_is_wanted(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("w1\n" * 20)
    tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(InvalidData, match=r'query_ids and passage_ids.*"query": ".*"passage"'):
        read(path)
    with pytest.raises(InvalidData, match="no file of objects with 2 texts"):
        read(tmp_path)


def test_what_an_input_takes_is_told_by_the_name_that_is_most_alike():
    names = ("ids_a", "ids_b", "mask_b", "mask_a", "position_b")
    texts, zeros = text_roles(tuple(parse_input(f"{name}:int64:5") for name in names))
    assert [roles.ids.name for roles in texts] == ["ids_a", "ids_b"]
    assert [[each.name for each in roles.masks] for roles in texts] == [["mask_a"], ["mask_b"]]
    assert [len(roles.positions) for roles in texts] == [0, 1]
    assert zeros == ()


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("input_ids", "text"), ("decoder_input_ids", "target"), ("query_ids", "query"),
        ("passage_input_ids", "passage"), ("ids", "text"), ("ids_b", "ids_b"), ("Tokens", "text"),
    ],
)  # fmt: skip
def test_the_field_of_a_text_is_called_like_its_ids(name, field):
    assert field_of(name) == field


@pytest.mark.parametrize(
    ("kind", "start"), [("BartForConditionalGeneration", 2), ("T5ForConditionalGeneration", 0)]
)
def test_what_a_network_writes_begins_as_it_was_trained_to(kind, start, tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    writer(tmp_path / "net", kind)
    add_network(NewNetwork("mine", "huggingface", weights=str(tmp_path / "net"), length=6))
    found = [{"text": f"w{at} w1", "target": " ".join(["w3"] * (at + 1))} for at in range(12)]
    path = write(tmp_path / "pairs.jsonl", found)
    data = load_data(f"texts:{path}", calibration=4, search=4, model="mine")
    for split in (data.calibration, data.search, data.test):
        written, mask = (split.columns[f"decoder_{n}"] for n in ("input_ids", "attention_mask"))
        assert set(written[:, 0].tolist()) == {start}
        assert set(written[:, 1].tolist()) == {2}
        assert torch.equal(mask.sum(1), (written[:, 1:] > 0).sum(1) + 1)
        # of long texts the last mark stays
        assert all(row[int(n) - 1] == 3 for row, n in zip(written, mask.sum(1), strict=True))
