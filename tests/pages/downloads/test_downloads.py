"""Every file a page hands out, read back by what it is for."""

import dataclasses
import hashlib
import html.parser
import io
import json
import re
import zipfile

import jsonschema
import pandas as pd
import pytest
import yaml

from pages.downloads import bundle, downloads, tables_out
from pages.downloads.report import report
from pages.shared import frames
from pages.shared.columns import LOSSES, OBJECTIVE, SEARCH_SCORE, TEST_LOSS, column_of
from pages.shared.points_table import points_frame
from qcore.allocation import BitAllocation, LayerSpec, ModelSpec
from qcore.costs import COSTS, costs_of
from qcore.formats.config import BitConfig, parse_bits
from qcore.problem import Scores
from qcore.quantization_card import card_of_config
from qcore.quantization_card import rows as card_rows
from tests import configs
from tests.pages import sample

COLUMN = column_of(COSTS["weight_bytes"])
BITS = sample.allocations(1, seed=9, activations=(4, 8))[0]
CONFIG = configs.config(sample.MODEL, BITS)
RUNS = {1: sample.run_of(1, "exact"), 2: sample.run_of(2, "uniform")}
POINTS = [
    *(sample.stored(n, 1, sample.point(a, 800 + n)) for n, a in enumerate(sample.allocations(30))),
    *(
        sample.stored(100 + bits, 2, sample.point(sample.uniform(bits), 700 + bits, tested=True))
        for bits in (2, 3, 4, 8)
    ),
]


def frame():
    return points_frame(POINTS, RUNS, sample.MODEL)


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.said, self.open = [], [], [], []
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self):
        return "".join(self.said)


def test_a_report_holds_all_its_parts_and_fetches_nothing():
    page = Page(report(CONFIG, "mine", note="for the talk", points=frame(), check="as saved"))
    assert not page.open
    assert page.tags.count("svg") == 4
    assert not {"script", "link", "img", "iframe", "a", "object", "base", "form"} & set(page.tags)
    assert not {"src", "href", "onclick", "onload", "xlink:href"} & {n for n, _ in page.attributes}
    assert not any("url(" in str(value) or "//" in str(value) for _, value in page.attributes)
    policy = next(v for n, v in page.attributes if n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none'")
    for words in ("mine", "for the talk", "as saved", "89.0 % (88.4 to 89.6, n=10,000)", "exact"):
        assert words in page.text
    for label, said in card_rows(card_of_config(CONFIG)):
        assert label in page.text
        assert said in page.text
    for layer in sample.MODEL.names:
        assert layer in page.text
    assert CONFIG.model.digest in page.text


def test_a_report_ranks_by_what_was_minimised_within_its_own_size_never_by_accuracy():
    floats = sample.FLOAT, Scores(10_000, 0.0, 1.0, 0.92, 0.2)
    told = points_frame(POINTS, RUNS, sample.MODEL, floats=floats)
    # the most accurate point diverges most: luck
    best = told[SEARCH_SCORE].idxmax()
    told.loc[best, OBJECTIVE] = 9.0
    size = COSTS["weight_bytes"].total(CONFIG.model, CONFIG.allocation)
    page = Page(report(CONFIG, "mine", points=told)).text
    assert "most accurate point" not in page
    chosen = frames.picks(told, {"weight_bytes": float(size)})
    assert len(chosen) == 2
    for row in chosen.to_dict("records"):
        assert row[COLUMN] <= size
        assert row["point"] != told.loc[best, "point"]
        split = "search split" if pd.isna(row[TEST_LOSS]) else "test split"
        loss, low, high = (row[column] for column in LOSSES[split])
        assert f"{loss:.2f} ({low:.2f} to {high:.2f})" in page


def test_a_report_without_other_points_or_scores_is_whole_too():
    alone = type(CONFIG)(CONFIG.model, CONFIG.allocation)
    page = Page(report(alone, "bits"))
    assert page.tags.count("svg") == 3
    assert "not yet: this is bits alone" in page.text


RULED = {
    "rules": [{"layers": "conv1", "lock": 8}, {"layers": "*", "weights": [4, 8]}],
    "weight_bits": [2, 4, 8],
    "activation_bits": [32],
}


def test_a_report_tells_rules_and_what_they_left():
    told = dataclasses.replace(CONFIG, provenance=RULED)
    page = Page(report(told, "mine")).text
    assert "conv1: " not in page
    for words in ("Rules", "locked at 8", "weights 4 or 8", "a later rule decides conv1"):
        assert words in page, words
    assert "Rules" not in Page(report(CONFIG, "mine")).text
    # a file may hold anything
    for odd in ([{"layers": "<b>x</b>", "lock": 99}], 7, [{"layers": "gone", "lock": 8}]):
        odd_page = Page(
            report(dataclasses.replace(CONFIG, provenance={**RULED, "rules": odd}), "x")
        )
        assert "Rules" in odd_page.text


def test_a_report_says_whether_its_bits_keep_the_rules():
    kept = BitAllocation.uniform(CONFIG.model.layers, 4)
    for lock, words in ((4, "keep all"), (8, "do not keep all")):
        rules = [{"layers": "conv1", "lock": lock}]
        told = BitConfig(CONFIG.model, kept, provenance={**RULED, "rules": rules})
        page = Page(report(told, "x")).text
        assert f"These bits {words} of them" in page


def test_hostile_names_are_text_in_a_report():
    model = configs.hostile_model()
    attack = '</title><script>alert(1)</script><svg onload="alert(1)">'
    page = Page(report(configs.config(model), attack, note=attack, check=attack))
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count(attack) >= 4


@pytest.mark.parametrize("layers", [1, 110, 1000])
def test_a_report_stays_below_half_a_megabyte(layers):
    specs = tuple(
        LayerSpec(f"{n}." + "\U0001f600" * 490, "linear", 1000 + n, 8, 8, 10, 10, 10)
        for n in range(layers)
    )
    model = ModelSpec("y" * 500, "0" * 64, specs)
    bits = configs.allocation(model, range(1, 9), (2, 4, 8))
    assert len(report(configs.config(model, bits, state=False), "x" * 200)) < 500_000


def test_a_bundle_is_complete_checks_itself_and_is_reproducible():
    extra = {"mine.report.html": report(CONFIG, "mine")}
    content = bundle.bundle(CONFIG, "mine", extra)
    assert content == bundle.bundle(CONFIG, "mine", extra)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert set(sums) == set(files) - {"SHA256SUMS"}
    assert all(hashlib.sha256(files[name]).hexdigest() == digest for name, digest in sums.items())
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in files)
    document = json.loads(files["mine.bits.json"])
    assert parse_bits(files["mine.bits.json"].decode()).allocation == BITS
    assert yaml.safe_load(files["mine.bits.yaml"]) == document
    jsonschema.Draft202012Validator(json.loads(files["bit-configuration.schema.json"])).validate(
        document
    )
    said = files["README.txt"].decode()
    assert "AIMET encodings: not in here." in said
    assert "mine.aimet.encodings" not in files
    assert json.loads(files["mine.modelopt.json"])["quant_cfg"]


def test_the_points_table_has_a_row_for_each_point_with_its_costs():
    table = tables_out.all_points(POINTS, RUNS, sample.MODEL)
    again = pd.read_parquet(io.BytesIO(tables_out.parquet(table)))
    assert len(again) == len(POINTS)
    for row, stored in zip(again.to_dict("records"), POINTS, strict=True):
        assert (row["point"], row["run"]) == (stored.id, stored.run_id)
        assert json.loads(row["bits"]) == stored.point.allocation.to_json()
        for name, value in costs_of(sample.MODEL, stored.point.allocation).items():
            assert row[name] == value
        assert row["search_accuracy"] == stored.point.search.accuracy
        assert pd.isna(row["test_accuracy"]) == (stored.point.test is None)
        assert row["search_low"] < row["search_accuracy"] < row["search_high"]


def test_the_front_table_is_each_methods_front():
    read = pd.read_csv(io.BytesIO(tables_out.front_csv(frame(), COSTS["weight_bytes"])))
    column = column_of(COSTS["weight_bytes"])
    for method, rows in frame().groupby("method"):
        wanted = frames.front_of(rows, COSTS["weight_bytes"])
        got = read[read["method"] == method]
        assert got[column].tolist() == wanted[column].tolist()
        assert got[SEARCH_SCORE].is_monotonic_increasing


def test_spreadsheets_run_no_text():
    table = pd.DataFrame(
        {"text": ["=1+1", "-x", "@a", "plain", "+\u00e9"], "number": [-1, 2, 3, 4, 5]}
    )
    read = pd.read_csv(io.BytesIO(tables_out.spreadsheet(table)))
    assert read["text"].tolist() == ["'=1+1", "'-x", "'@a", "plain", "'+\u00e9"]
    assert read["number"].tolist() == [-1, 2, 3, 4, 5]


def test_offers_make_nothing_before_they_are_asked():
    def explode():
        raise AssertionError("read before the click")

    offered = downloads.offers(CONFIG, "mine", explode)
    assert len({offer.file_name for offer in offered}) == len(offered)
    for offer in offered:
        if offer.title not in ("Report", "Bundle") and not offer.refused:
            assert offer.make()
    with pytest.raises(AssertionError, match="before the click"):
        next(offer for offer in offered if offer.title == "Report").make()


def test_what_was_measured_beside_a_configuration_has_its_setting(tmp_path):
    from store import open_store

    store = open_store(tmp_path / "bitdial.db")
    sample.fill(store)
    told = {"data": "fashion-mnist", "calibration_images": 1024, "search_images": 1024}
    config = type(CONFIG)(sample.MODEL, BITS, provenance=told)
    found = downloads.beside(store, config)
    assert set(found["method"]) == {"Uniform bits", "Portfolio", "Random"}
    other = type(CONFIG)(sample.MODEL, BITS, provenance={**told, "search_images": 512})
    assert downloads.beside(store, other) is None


def test_files_with_the_network_are_asked_of_another_process(monkeypatch):
    asked = []

    def made(text, name, costs):
        asked.append((text, name))
        return type("Exported", (), {"content": b"file"})

    monkeypatch.setattr(downloads, "export_text", made)
    *offered, _ = downloads.with_network(CONFIG, "the text", "mine")
    named = {e.title: e.name for e in downloads.EXPORTS.values() if e.needs_model}
    assert {offer.title for offer in offered} == set(named)
    for offer in offered:
        assert offer.make() == b"file"
        assert asked[-1] == ("the text", named[offer.title])


def test_the_reader_of_bit_packed_files_is_a_download_beside_them():
    reader = downloads.with_network(CONFIG, "the text", "mine")[-1]
    assert reader.file_name == "packed_reader.py"
    assert b"def apply(" in reader.make()
    assert not reader.refused


def test_latex_shows_every_sign_as_it_is():
    assert tables_out.latex("50 % of a_b & {c}") == r"50 \% of a\_b \& \{c\}"
    assert tables_out.latex("\\input{x}\nnext") == r"\textbackslash{}input\{x\} next"


def test_a_latex_table_has_a_cell_for_each_and_real_minus_signs():
    table = pd.DataFrame({"Method": ["a & b", "NSGA-2"], "Change": ["-0.5 (-1.0 to 0.1)", None]})
    lines = tables_out.latex_table(table, ["Change"]).splitlines()
    assert lines[1] == r"\begin{tabular}{lr}"
    assert lines[3] == r"Method & Change \\"
    assert lines[5] == r"a \& b & $-$0.5 ($-$1.0 to 0.1) \\"
    assert lines[6] == r"NSGA-2 &  \\"
    assert [lines[at] for at in (2, 4, 7)] == [r"\toprule", r"\midrule", r"\bottomrule"]
