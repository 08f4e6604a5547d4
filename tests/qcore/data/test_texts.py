"""Texts as data: cut into tokens, split by documents, and refused in words."""

import json
import os
import shutil
import tracemalloc
from functools import cache

import numpy as np
import pytest
import torch

from qcore.add_network import add_network, check_network_on
from qcore.data import load_data, text_files
from qcore.data.text_files import open_documents
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.inputs import parse_input
from qcore.models.cards import card_folder
from qcore.models.catalog import default_data, read_models
from qcore.models.new_network import NewNetwork
from tests.hugging_folders import WORDS, saved, tokenizer

LENGTH = 8


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "tests.typed_nets")
    return tmp_path


def network(place, kind="BertModel", own_tokenizer=True, **changed):
    """Add a small network that reads eight tokens; returns its name."""
    if changed:
        added(place / "data", place / kind, own_tokenizer, **changed)
    else:
        shutil.copytree(_kept(place.parent, kind, own_tokenizer), place / "data")
    return "mine"


def added(data, folder, own_tokenizer, **changed):
    """Write the network that `folder` is called after, and add it to a data folder."""
    saved(folder.name, folder, **changed)
    if own_tokenizer:
        tokenizer(folder / "tokenizer.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(data))
        add_network(NewNetwork("mine", "huggingface", weights=str(folder), length=LENGTH))


@cache
def _kept(base, kind, own_tokenizer):
    """A data folder that knows the network; adding it takes longer than most of the tests."""
    place = base / f"{kind} {'with' if own_tokenizer else 'without'} a tokenizer"
    added(place / "data", place / kind, own_tokenizer)
    return place / "data"


def sentences(n, seed=0, longest=5):
    rng = np.random.default_rng(seed)
    found = set()
    while len(found) < n:
        found.add(" ".join(rng.choice(WORDS[4:], int(rng.integers(3, longest + 1)))))
    return sorted(found)


def read(path, model="mine", calibration=6, search=6, **more):
    return load_data(f"texts:{path}", calibration=calibration, search=search, model=model, **more)


def rows(data):
    """Every sample's ids without padding, split by split."""
    return [
        [tuple(row[row > 0].tolist()) for row in split.columns["input_ids"]]
        for split in (data.calibration, data.search, data.test)
    ]


def ids_of(text):
    return (2, *(WORDS.index(word) for word in text.split()), 3)


def write_lines(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_objects(path, objects):
    return write_lines(path, [json.dumps(each) for each in objects])


@pytest.mark.parametrize("way", ["folder", "lines", "objects"])
def test_every_document_is_one_sample_of_one_split_with_ids_and_mask(way, place):
    model, texts = network(place), sentences(30)
    if way == "folder":
        path = place / "texts"
        (path / "deeper").mkdir(parents=True)
        for number, text in enumerate(texts):
            (path / ("deeper" if number % 2 else "") / f"{number:02}.txt").write_text(f"{text}\r\n")
        (path / "notes.md").write_text("w1 w2 w3")
    elif way == "lines":
        path = write_lines(place / "texts.txt", texts)
    else:
        path = write_objects(place / "texts.jsonl", [{"text": text, "n": 1} for text in texts])
    data = read(path)
    assert [len(part) for part in rows(data)] == [6, 6, 18]
    assert sorted(row for part in rows(data) for row in part) == sorted(map(ids_of, texts))
    for split in (data.calibration, data.search, data.test):
        ids, mask = split.columns["input_ids"], split.columns["attention_mask"]
        assert ids.shape == (len(split), LENGTH)
        assert torch.equal(mask, (ids > 0).long())
        assert not split.columns["token_type_ids"].any()
    assert data.notes == ()
    assert rows(read(path)) == rows(data)
    assert rows(read(path, seed=1)) != rows(data)
    assert read(path).digest == data.digest
    assert default_data(model) == "texts:"


def test_long_texts_are_cut_keep_their_last_mark_and_are_counted(place):
    network(place)
    long = [" ".join(["w1", f"w{n}", *["w2"] * 20]) for n in range(5)]
    data = read(write_lines(place / "t.txt", [*sentences(20), *long]))
    assert data.notes == ("5 of 25 documents are longer than 8 tokens and were cut.",)
    cut = [row for part in rows(data) for row in part if row.count(WORDS.index("w2")) > 3]
    assert len(cut) == 5
    assert {(len(row), row[0], row[-1]) for row in cut} == {(LENGTH, 2, 3)}


def test_identical_documents_and_those_alike_in_what_is_taken_are_one(place):
    network(place)
    same = ["w1 w2 w3", " w1 w2 w3  ", "w1  w2 w3"]
    alike = ["w5 " * 30 + "w6", "w5 " * 30 + "w7"]
    data = read(write_lines(place / "t.txt", [*sentences(20, 3), *same, *alike]))
    every = [row for part in rows(data) for row in part]
    assert len(every) == len(set(every)) == 22
    assert "3 documents were left out: the same as another one" in " ".join(data.notes)


def test_empty_documents_are_left_out_and_counted(place):
    network(place)
    path = place / "texts"
    path.mkdir()
    for number, text in enumerate([*sentences(20), "", " \n\t", "\ufeff"]):
        (path / f"{number}.txt").write_text(text)
    data = read(path)
    assert sum(map(len, rows(data))) == 20
    assert data.notes == ("3 documents were left out: empty.",)
    for file in path.iterdir():
        file.write_text("\n")
    with pytest.raises(InvalidData, match=r"no document that can be used \(23 empty"):
        read(path)


def test_more_documents_than_there_are_is_refused_in_numbers(place):
    network(place)
    path = write_lines(place / "t.txt", sentences(10))
    with pytest.raises(InvalidParams, match="leave none to test on"):
        read(path, calibration=5, search=5)
    with pytest.raises(InvalidParams, match="has 10"):
        read(path, calibration=6, search=5)


def test_the_tokenizer_beside_the_texts_goes_before_the_networks_and_it_is_said(place):
    network(place)
    (place / "texts").mkdir()
    path = write_lines(place / "texts" / "t.txt", sentences(20))
    assert rows(read(path))[0][0][0] == 2
    tokenizer(place / "texts" / "tokenizer.json", special=False)
    data = read(path)
    assert 2 not in rows(data)[0][0]
    assert "is not the network's tokenizer.json" in data.notes[0]


def test_without_a_tokenizer_it_is_said_where_one_belongs(place):
    network(place, own_tokenizer=False)
    path = write_lines(place / "t.txt", sentences(20))
    with pytest.raises(DataUnavailable, match=r"no tokenizer.json beside .*t.txt.*nor in the netw"):
        read(path)
    tokenizer(card_folder("mine") / "tokenizer.json")
    assert len(read(path).calibration) == 6


def test_a_tokenizer_of_a_larger_vocabulary_is_refused_by_the_id_and_both_sizes(place):
    network(place, own_tokenizer=False)
    tokenizer(place / "tokenizer.json", [*WORDS, "w56", "w57"])
    fine = write_lines(place / "t.txt", sentences(20))
    assert len(read(fine).calibration) == 6
    path = write_lines(place / "u.txt", [*sentences(20), "w1 w57"])
    with pytest.raises(
        InvalidData, match=r"id 61 \('w57'\) and has 62 tokens; .* 60 ids \(0 to 59"
    ):
        read(path)


def test_a_tokenizer_of_a_much_smaller_vocabulary_is_asked_about(place):
    network(place, own_tokenizer=False)
    tokenizer(place / "tokenizer.json", WORDS[:30])
    data = read(write_lines(place / "t.txt", sentences(20)))
    assert "has 30 tokens and the network 60 ids" in data.notes[0]


def test_what_is_no_tokenizer_is_refused(place):
    network(place, own_tokenizer=False)
    path = write_lines(place / "t.txt", sentences(20))
    (place / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(InvalidData, match="is no tokenizer"):
        read(path)


def test_padding_is_the_tokenizers_where_the_network_knows_it(place):
    network(place, own_tokenizer=False)
    path = write_lines(place / "t.txt", sentences(20))
    file = tokenizer(place / "tokenizer.json")
    document = json.loads(file.read_text())

    def padded(number):
        document["padding"] = {
            "strategy": {"Fixed": 99}, "direction": "Left", "pad_to_multiple_of": None,
            "pad_id": number, "pad_type_id": 0, "pad_token": "w9",
        }  # fmt: skip
        file.write_text(json.dumps(document))
        columns = read(path).test.columns
        return set(columns["input_ids"][columns["attention_mask"] == 0].tolist())

    assert padded(13) == {13}
    assert padded(70) == {0}


def test_labels_are_numbers_or_the_names_that_the_network_gives_its_classes(place):
    names = {0: "bad", 1: "fair", 2: "Good"}
    network(place, "BertForSequenceClassification", id2label=names)
    texts = sentences(30)
    labels = [number % 3 for number in range(30)]
    by_text = dict(zip(map(ids_of, texts), labels, strict=True))
    for way in (int, float, str, lambda n: names[n], lambda n: names[n].upper()):
        written = [{"text": t, "label": way(n)} for t, n in zip(texts, labels, strict=True)]
        data = read(write_objects(place / "t.jsonl", written))
        assert data.class_names == ("bad", "fair", "Good")
        found = [row for part in rows(data) for row in part]
        splits = (data.calibration, data.search, data.test)
        assert [by_text[row] for row in found] == torch.cat([s.labels for s in splits]).tolist()
        assert data.notes == ()


def test_names_that_the_network_does_not_know_are_numbered_by_the_alphabet_and_said(place):
    network(place, "BertForSequenceClassification")
    written = [{"text": t, "label": "abc"[n % 3]} for n, t in enumerate(sentences(30))]
    data = read(write_objects(place / "t.jsonl", written))
    assert data.classes == 3
    assert "a = 0, b = 1, c = 2" in data.notes[0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 3], "line 3: the label 3 is no class of mine, which has 3"),
        ([0, -1, 2], "line 2: the label -1 is no class"),
        ([0, 1.5, 2], "line 2: the label 1.5 is no class number"),
        ([0, 1, None], "line 3 has no label"),
        ([0, "good", 1], "Some labels are names .'good' in t.jsonl, line 2"),
        (["a", "b", "c", "d"], "no class of mine"),
        ([0, [1], 2], "line 2: the label is a list"),
        ([float("nan"), 1, 2], "line 1: the label 'nan' is no number"),
    ],
)
def test_labels_that_cannot_be_are_refused_by_their_line(place, labels, words):
    network(place, "BertForSequenceClassification")
    written = [{"text": t, "label": n} for t, n in zip(sentences(4), labels, strict=False)]
    written += [{"text": t, "label": labels[0]} for t in sentences(20, 9, 4)]
    with pytest.raises(InvalidData, match=words):
        read(write_objects(place / "t.jsonl", written))


def test_labels_of_documents_are_not_used_by_a_language_model(place):
    network(place, "GPT2LMHeadModel")
    written = [{"text": t, "label": 1} for t in sentences(20)]
    data = read(write_objects(place / "t.jsonl", written))
    assert data.test.labels is None
    assert "labels are not used" in data.notes[0]


def test_a_text_of_one_token_is_no_document_of_a_language_model(place):
    network(place, "GPT2LMHeadModel", own_tokenizer=False)
    tokenizer(place / "tokenizer.json", special=False)
    data = read(write_lines(place / "t.txt", [*sentences(20), "w1", "w2"]))
    assert sum(map(len, rows(data))) == 20
    assert "2 documents were left out: of a single token" in data.notes[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"line 21 is no JSON \(Expecting.*at character 2"),
        ("w1 w2", "line 21 is no JSON"),
        ('["w1"]', "line 21 needs an object with the field 'text'.*a list"),
        ('"w1"', "line 21 needs an object"),
        ('{"sentence": "w1"}', "line 21 needs.*holds the fields sentence"),
        ('{"text": 3}', "line 21 needs"),
        ("[" * 100_000, "line 21 is no JSON"),
    ],
)
def test_a_line_that_is_no_object_with_a_text_is_refused_by_its_number(place, line, words):
    network(place)
    path = write_objects(place / "t.jsonl", [{"text": text} for text in sentences(20)])
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(InvalidData, match=words):
        read(path)


def test_blank_lines_and_half_characters_do_no_harm(place):
    network(place)
    path = write_objects(place / "t.jsonl", [{"text": text} for text in sentences(20)])
    with path.open("a") as stream:
        stream.write('\n{"text": "w1 \\ud800 w2"}\n\n')
    assert sum(map(len, rows(read(path)))) == 21


def test_a_line_that_is_not_utf_8_is_refused_and_a_few_such_files_are_left_out(place):
    network(place)
    path = write_lines(place / "t.txt", sentences(20))
    with path.open("ab") as stream:
        stream.write("w1 caf\u00e9\n".encode("latin-1"))
    with pytest.raises(InvalidData, match=r"t.txt, line 21 is not UTF-8 \(byte 0xE9 at 7\)"):
        read(path)
    folder = place / "texts"
    folder.mkdir()
    for number, text in enumerate(sentences(20)):
        (folder / f"{number:02}.txt").write_text(text)
    (folder / "a.txt").write_bytes("w1 w2".encode("utf-16"))
    note = read(folder).notes[0]
    assert "1 of 21 files cannot be used" in note
    assert "a.txt is not UTF-8 (byte 0xFF at 1), perhaps UTF-16" in note
    (folder / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidData, match="2 files cannot be used"):
        read(folder)


def test_what_is_no_text_is_refused_by_its_kind(place):
    network(place)
    with pytest.raises(DataUnavailable, match="no folder or file"):
        read(place / "none")
    (place / "t.pdf").write_bytes(b"%PDF")
    with pytest.raises(InvalidData, match=r"no text file; give a folder of \.txt"):
        read(place / "t.pdf")
    (place / "texts").mkdir()
    with pytest.raises(InvalidData, match=r"holds no \.txt files"):
        read(place / "texts")
    (place / "texts" / "t.jsonl").write_text("{}")
    with pytest.raises(InvalidData, match=r"Give the file itself: texts:.*t.jsonl"):
        read(place / "texts")
    (place / "t.txt").write_text("")
    with pytest.raises(InvalidData, match="it is empty"):
        read(place / "t.txt")


def test_a_network_that_takes_no_token_ids_takes_no_texts(place):
    sizes = tuple(map(parse_input, ("x:float32:2x20",)))
    add_network(NewNetwork("mine", "factory", "tests.typed_nets:detector", inputs=sizes))
    path = write_lines(place / "t.txt", sentences(20))
    with pytest.raises(InvalidData, match="token ids; this one takes x"):
        read(path)
    with pytest.raises(InvalidData, match="token ids; this one takes images"):
        read(path, "resnet8")
    assert "texts" not in read_models()["mine"].datasets


def test_inputs_of_other_names_and_kinds_are_filled(place):
    sizes = tuple(map(parse_input, ("ids:int32:8<60=0", "mask:bool:8=0")))
    add_network(NewNetwork("mine", "factory", "tests.typed_nets:wide_encoder", inputs=sizes))
    tokenizer(place / "tokenizer.json")
    data = read(write_lines(place / "t.txt", sentences(20)))
    columns = data.test.columns
    assert (columns["ids"].dtype, columns["mask"].dtype) == (torch.int32, torch.bool)
    assert torch.equal(columns["mask"], columns["ids"] > 0)


def test_documents_are_drawn_from_all_of_a_file_by_the_seed(place):
    path = write_lines(place / "t.txt", [str(number) for number in range(1000)])
    found = open_documents(path, 100, 50, seed=0)
    numbers = [int(document.text) for document in found.each]
    assert (len(numbers), found.total, found.whole) == (100, 1000, True)
    assert numbers == sorted(set(numbers))
    assert min(numbers) < 100 < 900 < max(numbers)
    again = [int(document.text) for document in open_documents(path, 100, 50, seed=1).each]
    assert again != numbers


def test_a_file_without_an_end_is_read_within_bounds(place, monkeypatch):
    monkeypatch.setattr(text_files, "MOST_BYTES", 2**22)
    path = place / "t.txt"
    with path.open("wb") as stream:
        stream.write(b"w1 w2\n" + b"w3 " * 2**20 + b"\n")
        stream.truncate(2**32)  # takes no room on the disk
    tracemalloc.start()
    found = open_documents(path, 100, 1000, seed=0)
    first, second = [next(found.each) for _ in range(2)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.whole
    assert (first.text, second.cut, len(second.text)) == ("w1 w2", True, 1000)
    assert peak < 8 * 2**20


def test_a_classifier_is_checked_on_labelled_texts(place):
    name = network(place, "BertForSequenceClassification")
    written = [{"text": t, "label": n % 3} for n, t in enumerate(sentences(60))]
    path = write_objects(place / "t.jsonl", written)
    report = check_network_on(name, f"texts:{path}", 20, 20).report
    assert report["test"]["labelled"]
    assert report["splits"] == {"calibration": 20, "search": 20, "test": 20}
    assert default_data(name) == f"texts:{path}"


def test_a_pipe_among_texts_is_passed_over_not_waited_for(place):
    network(place)
    folder = place / "texts"
    folder.mkdir()
    os.mkfifo(folder / "a.txt")
    (folder / "b.txt").symlink_to(folder / "a.txt")
    for number, text in enumerate(sentences(20)):
        (folder / f"{number:02}.txt").write_text(text)
    assert sum(map(len, rows(read(folder)))) == 20


def test_a_number_of_too_many_digits_is_said_so(place):
    network(place)
    lines = [json.dumps({"text": text, "label": 1}) for text in sentences(20)]
    path = write_lines(place / "t.jsonl", [*lines, '{"text": "w1", "label": 1' + "0" * 5000 + "}"])
    with pytest.raises(InvalidData, match=r"line 21 is no JSON \(a number is too long\)"):
        read(path)
