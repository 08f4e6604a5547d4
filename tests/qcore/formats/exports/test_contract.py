"""What holds of every format: a file or a reason, the same each time, saying what it is."""

from dataclasses import replace

import pytest

from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig, dump_bits
from qcore.formats.exports import EXPORTS, write
from qcore.formats.exports.base import write_with_model
from store.jobs.export import export_text
from tests.qcore.formats.exports.nets import CASES, odd, residual

CONFIGS = {"mixed": residual, "odd": odd, "eight": lambda: odd((8,) * 4, (8,) * 4)}


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_is_named_and_described(name):
    export = EXPORTS[name]
    assert export.name == name
    assert export.suffix.startswith(".")
    assert "/" in export.mime
    assert export.title
    assert export.needs_model == (export.render is None) == bool(export.render_model)
    if export.needs_model:
        assert export.note, "where the file runs"


def test_suffixes_tell_the_formats_apart():
    assert len({export.suffix for export in EXPORTS.values()}) == len(EXPORTS)


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("name", [n for n, e in EXPORTS.items() if not e.needs_model])
def test_formats_without_the_network_render_the_same_each_time_or_say_why_not(name, case):
    config, export = CONFIGS[case]().config, EXPORTS[name]
    reason = export.carries(config)
    if reason is None:
        first = write(export, config)
        assert first
        assert first == write(export, config)
    else:
        with pytest.raises(ExportRefused) as refused:
            write(export, config)
        assert reason in str(refused.value)
        assert len(reason) > 20


@pytest.mark.parametrize("name", [n for n, e in EXPORTS.items() if e.needs_model])
def test_formats_with_the_network_refuse_bits_without_scales(name):
    case = odd()
    bare = BitConfig(case.config.model, case.config.allocation)
    with pytest.raises(ExportRefused, match="Measure it first"):
        write_with_model(EXPORTS[name], bare, case.model, case.sample)
    with pytest.raises(ExportRefused):
        write(EXPORTS[name], case.config)


def test_a_file_that_needs_the_network_is_made_in_another_process():
    config = replace(CASES["residual"]().config, provenance={"data": "fashion-mnist"})
    made = export_text(dump_bits(config), "packed")
    assert made.report["bytes"] == len(made.content)
    assert made.report["n"] == 64
    assert made.report["inputs"] == "64 images of fashion-mnist"
    assert made.report["argmax_agreement"] > 0.9


def test_the_other_process_says_in_words_why_there_is_no_file():
    config = CASES["residual"]().config
    with pytest.raises(ExportRefused, match="linear layers only"):
        export_text(dump_bits(config), "torchao")
    with pytest.raises(ExportRefused, match=r"longer than 0 seconds"):
        export_text(dump_bits(config), "packed", timeout_s=0.01)
