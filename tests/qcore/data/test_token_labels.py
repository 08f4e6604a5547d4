"""Labels of words and tokens as data: aligned with ids, judged over documents, refused in words."""

import json
from functools import cache

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from qcore.add_network import add_network, check_network_on
from qcore.data import load_data
from qcore.data.columns import column_data
from qcore.data.tagged.documents import tagged_document
from qcore.data.tagged.words import tags_of
from qcore.data.tokens import Encoded
from qcore.errors import InvalidData
from qcore.inputs import parse_input
from qcore.judges import parse_judge
from qcore.judges.tally import tally
from qcore.models.new_network import NewNetwork
from tests.hugging_folders import WORDS, saved, tokenizer

LENGTH = 8
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
NONE = -100


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A data folder that knows a small tagger of five named outputs."""
    return _kept(tmp_path_factory.mktemp("tagger"))


@cache
def _kept(place):
    folder = place / "net"
    saved("BertForTokenClassification", folder, id2label=dict(enumerate(NAMES)))
    tokenizer(folder / "tokenizer.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDIAL_DATA", str(place / "data"))
        add_network(NewNetwork("tagger", "huggingface", weights=str(folder), length=LENGTH))
    return place / "data"


@pytest.fixture
def place(kept, monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_DATA", str(kept))
    return tmp_path


def documents(n=24, seed=0):
    """Words and a tag for each, every document another."""
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < n:
        words = tuple(rng.choice(WORDS[4:], int(rng.integers(2, 7))).tolist())
        found[words] = [NAMES[at] for at in rng.integers(0, len(NAMES), len(words))]
    return [(list(words), tags) for words, tags in found.items()]


def written(path, objects):
    path.write_text("\n".join(map(json.dumps, objects)) + "\n", encoding="utf-8")
    return path


def load(path, **more):
    return load_data(f"texts:{path}", calibration=6, search=6, model="tagger", **more)


def labelled(data):
    """Every document of the splits: its words, and its labels by name or None."""
    found = {}
    for split in (data.calibration, data.search, data.test):
        for ids, labels in zip(split.columns["input_ids"], split.labels, strict=True):
            own = [at for at, number in enumerate(ids.tolist()) if number > 3]
            words = tuple(WORDS[ids[at]] for at in own)
            found[words] = [None if labels[at] < 0 else NAMES[labels[at]] for at in own]
            assert all(labels[at] == NONE for at in range(LENGTH) if at not in own)
    return found


WAYS = {
    "names": lambda words, tags: {"tokens": words, "tags": tags},
    "numbers": lambda words, tags: {"words": words, "ner_tags": [NAMES.index(t) for t in tags]},
    "numbers as words": lambda words, tags: {
        "tokens": words, "labels": [str(NAMES.index(t)) for t in tags]
    },
    "other case": lambda words, tags: {"tokens": words, "tags": [t.lower() for t in tags]},
    "a text at its spaces": lambda words, tags: {"text": " ".join(words), "label": tags},
    "beside other fields": lambda words, tags: {
        "id": 3, "tokens": words, "tags": tags, "pos_tags": [0] * len(tags), "text": "other"
    },
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_word_has_its_label_and_marks_and_padding_have_none(way, place):
    every = documents()
    data = load(written(place / "t.jsonl", [WAYS[way](*each) for each in every]))
    assert data.class_names == tuple(NAMES)
    assert labelled(data) == {tuple(words): tags for words, tags in every}


@pytest.mark.parametrize("way", ["rows", "lines", "lines with tabs and marks"])
def test_rows_and_lines_of_words_have_the_same_labels(way, place):
    every = documents()
    if way == "rows":
        path = place / "t.parquet"
        columns = {
            "id": list(range(len(every))),
            "tokens": [words for words, _ in every],
            "ner_tags": [[NAMES.index(tag) for tag in tags] for _, tags in every],
        }
        parquet.write_table(pyarrow.table(columns), path)
    else:
        path = place / "t.conll"
        tab = "\t" if "tabs" in way else " "
        parts = [
            "\n".join(f"{w}{tab}_{tab}{t}" for w, t in zip(*each, strict=True)) for each in every
        ]
        start = "-DOCSTART- -X- O\n\n\n" if "marks" in way else ""
        path.write_text(start + "\n\n".join(parts), encoding="utf-8")
    data = load(path)
    assert data.notes == ()
    assert labelled(data) == {tuple(words): tags for words, tags in every}


def test_a_word_without_a_label_is_refused_with_its_document(place):
    lines = "\n\n".join(f"{words[0]} O\n{words[1]} O" for words, _ in documents())
    (place / "t.conll").write_text(f"{lines}\n\nw1 O\nw2\n")
    with pytest.raises(InvalidData, match=r"line 73 begins a document whose word 1, 'w2', has no"):
        load(place / "t.conll")


def test_labels_are_cut_with_their_words_and_null_and_minus_100_do_not_count(place):
    every = documents()
    long = (["w1"] * 9, ["O", "B-PER", None, NONE, *["O"] * 5])
    lost = (["w2"] * 9, [None] * 8 + ["O"])
    data = load(
        written(place / "t.jsonl", [{"tokens": w, "tags": t} for w, t in [*every, long, lost]])
    )
    assert labelled(data)[("w1",) * 6] == ["O", "B-PER", None, None, "O", "O"]
    assert ("w2",) * 6 not in labelled(data)
    assert any("no word with a label" in note and note.startswith("1 ") for note in data.notes)


def test_a_word_of_several_tokens_has_its_label_at_the_first():
    document = tagged_document(["ab", "", "c-d", "e f"], ["A", "B", "C", "D"], "here", 100)
    assert document.text == "ab  c-d e f"
    #        [CLS] a  b   c  -  d  " e" f  [SEP]
    last = [-1, 0, 1, 4, 5, 6, 8, 10, -1]
    tokens = Encoded(np.arange(9), np.zeros(9), 7, False, np.array(last))
    assert tags_of(document, tokens) == [None, "A", None, "C", None, None, "D", None, None]


def test_outputs_are_named_by_a_file_beside_the_texts(place):
    order = NAMES[::-1]
    (place / "labels.txt").write_text("\n".join(order) + "\n")
    every = documents()
    data = load(written(place / "t.jsonl", [{"tokens": w, "tags": t} for w, t in every]))
    turned = {tuple(w): [NAMES[order.index(t)] for t in tags] for w, tags in every}
    assert labelled(data) == turned


REFUSED = {
    "wrong length": ({"tokens": ["w1", "w2"], "tags": ["O"]}, "line 3 has 2 words and 1 labels"),
    "unknown": ({"tokens": ["w1"], "tags": ["B-ORG"]}, "'B-ORG' is none of the network's 5 labels"),
    "out of range": ({"tokens": ["w1"], "tags": [5]}, "5 is none of the network's 5 labels"),
    "without text": ({"tags": ["O"]}, "'tags' and no text that they are of"),
    "ids for words": ({"tokens": [5, 6], "tags": [0, 1]}, "words are texts"),
    "spans": ({"text": "w1 w2", "label": [[0, 2, "PER"]]}, r"Spans \(start, end, name\)"),
    "a fraction": ({"tokens": ["w1"], "tags": [0.5]}, "a name or a whole number"),
    "truth": ({"tokens": ["w1"], "tags": [True]}, "a name or a whole number"),
    "a null word": ({"tokens": ["w1", None], "tags": [0, 0]}, "word 1 of 'tokens' is null"),
    "two kinds": (
        {"tokens": ["w1"], "ner_tags": [0], "pos_tags": [0]}, "several lists of labels"
    ),
    "one bare": ({"text": "w1 w2 w3"}, "line 3 has no labels of its words, and others have"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_cannot_be_are_refused_with_their_place(case, place):
    odd, words = REFUSED[case]
    every = [{"tokens": w, "tags": t} for w, t in documents()]
    every.insert(2, odd)
    with pytest.raises(InvalidData, match=words) as caught:
        load(written(place / "t.jsonl", every))
    assert "line 3" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("O\nO\n", "'O' twice"),
        ("O\n\nB\n", "empty line"),
        ("O\nB\n", "names 2 outputs, and the network has 5"),
    ],
)
def test_a_file_of_names_that_cannot_be_is_refused(content, words, place):
    (place / "labels.txt").write_text(content)
    with pytest.raises(InvalidData, match=words):
        load(written(place / "t.jsonl", [{"tokens": w, "tags": t} for w, t in documents()]))


def test_the_score_is_the_share_of_labelled_tokens_and_its_interval_is_over_documents(place):
    every = documents(40)
    path = written(place / "t.jsonl", [{"tokens": w, "tags": t} for w, t in every])
    report = check_network_on("tagger", f"texts:{path}", 6, 6).report["test"]
    assert report["labelled"]
    assert report["n"] == 28
    assert report["low"] < report["value"] < report["high"]


IDS = (parse_input("ids:int64:6<9=0"), parse_input("mask:int64:6=0"))
TAGGER = parse_judge("tokens:mask=mask")


def columns(path, judge=TAGGER, inputs=IDS, **stored):
    if path.suffix == ".parquet":
        lists = {k: [list(map(int, row)) for row in v] for k, v in stored.items()}
        parquet.write_table(pyarrow.table(lists), path)
    else:
        np.savez(path, **stored)
    return column_data(f"tensors:{path}", "tensors", path, inputs, (2, 2), 0, False, judge)


def every_label(data):
    splits = (data.calibration, data.search, data.test)
    return {
        tuple(ids.tolist()): labels.tolist()
        for split in splits
        for ids, labels in zip(split.columns["ids"], split.labels, strict=True)
    }


def test_lists_of_labels_are_padded_and_cut_as_their_ids_are(tmp_path):
    ids = [[1, k, *[2] * (k % 8)] for k in range(1, 9)]
    labels = [[NONE, *[k % 3] * (len(row) - 1)] for k, row in enumerate(ids)]
    data = columns(tmp_path / "t.parquet", ids=ids, labels=labels)
    aim = {
        tuple((row + [0] * 6)[:6]): (own + [NONE] * 6)[:6]
        for row, own in zip(ids, labels, strict=True)
    }
    assert every_label(data) == aim


@pytest.mark.parametrize("length", [4, 6, 9])
def test_columns_of_one_length_are_padded_and_cut_alike(tmp_path, length):
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(1, 9, (9, length)), rng.integers(-1, 4, (9, length)).astype(float)
    labels[:, 0] = 1
    data = columns(tmp_path / "t.npz", ids=ids, mask=np.ones((9, length), int), labels=labels)
    for row, own in zip(ids, labels, strict=True):
        wanted = (own.astype(int).tolist() + [NONE] * 6)[:6]
        assert every_label(data)[tuple((row.tolist() + [0] * 6)[:6])] == wanted


@pytest.mark.parametrize("form", ["lists", "lists beside one length", "one length"])
def test_labels_of_another_length_than_their_ids_are_refused_by_sample(tmp_path, form):
    ids = [[1] * (3 + (k % 2) * (form != "lists beside one length")) for k in range(6)]
    labels = [[0] * len(row) for row in ids]
    if form == "one length":
        labels = [[0] * 3 for _ in ids]
        words = "sample 1 has 3 labels in labels and 4 ids"
    else:
        labels[4] = [0] * 9
        words = "sample 4 has 9 labels in labels and 3 ids"
    with pytest.raises(InvalidData, match=words):
        columns(tmp_path / "t.parquet", ids=ids, labels=labels)


def test_samples_without_a_label_are_left_out_and_masked_labels_do_not_count(tmp_path):
    ids = np.arange(1, 9)[:, None].repeat(6, 1)
    mask = np.ones((8, 6), int)
    mask[:, 4:] = 0
    labels = np.zeros((8, 6), int)
    labels[3] = NONE
    labels[5, :4] = NONE  # what is left is padding
    data = columns(tmp_path / "t.npz", ids=ids, mask=mask, labels=labels)
    assert sorted(ids[0] for ids in every_label(data)) == [1, 2, 3, 5, 7, 8]
    assert any(note.startswith("2 of 8 samples have no label") for note in data.notes)
    with pytest.raises(InvalidData, match="no place of any sample"):
        columns(tmp_path / "u.npz", ids=ids, mask=mask, labels=np.full((8, 6), NONE))


def test_labels_that_are_a_language_models_own_ids_are_those_of_the_next_place(tmp_path):
    ids = np.random.default_rng(1).integers(1, 9, (8, 6))
    labels = ids.copy()
    labels[:, :2] = NONE  # a prompt that is not judged
    judge = parse_judge("tokens:mask=mask:ids=ids")
    data = columns(tmp_path / "t.npz", judge, ids=ids, mask=np.ones((8, 6), int), labels=labels)
    for row in ids.tolist():
        assert every_label(data)[tuple(row)] == [NONE, *row[2:], NONE]
    assert any("the id that comes after it" in note for note in data.notes)


def test_only_labelled_tokens_that_are_not_padding_count_in_score_and_loss():
    torch.manual_seed(0)
    outputs, mask = torch.randn(3, 5, 4), torch.ones(3, 5)
    mask[1, 3:] = 0
    labels = torch.randint(0, 4, (3, 5))
    labels[0, :2] = NONE
    x = {"mask": mask}
    truth = TAGGER.truth(x, labels)
    seen = TAGGER.read(outputs, x)
    scores = tally(TAGGER, [(x, truth)], [seen], [seen])
    shares, losses = [], []
    for row in range(3):
        counts = [at for at in range(5) if labels[row, at] >= 0 and mask[row, at]]
        logs = outputs[row].log_softmax(1)
        shares.append(np.mean([int(logs[at].argmax()) == int(labels[row, at]) for at in counts]))
        losses.append(np.mean([-float(logs[at, labels[row, at]]) for at in counts]))
    assert scores.accuracy == pytest.approx(np.mean(shares))
    assert scores.loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert scores.score_error == pytest.approx(np.std(shares, ddof=1) / 3**0.5)
