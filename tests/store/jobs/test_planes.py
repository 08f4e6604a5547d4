"""A run of nested codes: its network as bit planes, and everything else a run can do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pages.run_time import options, view
from pages.shared import judged
from qcore.engine import drive
from qcore.errors import ExportRefused, InvalidParams
from qcore.formats.apply import apply_bits
from qcore.formats.exports import EXPORTS, write
from qcore.models.zoo import load_model
from qcore.planes.reading import parse_planes
from qcore.prepare import prepare
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.quantization_card import card_of_config
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from store import create_run, open_store, run
from store.__main__ import main
from store.database.locations import URL_VARIABLE
from store.jobs import planes, runtime
from store.runs import points
from store.runs.checkpoints import FileCheckpoints
from store.runs.points import add_point, save_model
from store.runs.queue import claim, finish


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    return open_store()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An SP-Nets run of nested codes of resnet8 on some made images."""
    file = tmp_path_factory.mktemp("images") / "small.npz"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 1, 28, 28), np.uint8), rng.integers(0, 10, 120)
    np.savez(file, x=x, y=y, x_test=x[:16], y_test=y[:16])
    spec = RunSpec(
        "resnet8", f"tensors:{file}", "spnets",
        {"epochs": 1, "epoch_images": 16, "quantizer": "nested"},
        weight_bits=(2, 8), activation_bits=(2, 8), calibration_images=16, search_images=24,
        device="cpu", objective="kl",
    )  # fmt: skip
    checkpoints = MemoryCheckpoints()
    prepared = prepare(spec, checkpoints=checkpoints)
    search, found = SEARCHES["spnets"], []
    drive(
        search, prepared.problem, search.read_params(spec.params), 0, score=prepared.score,
        on_event=lambda event: found.append(event) if hasattr(event, "allocation") else None,
    )  # fmt: skip
    return spec, prepared.trainer.saved("switches"), found, prepared


def kept(store, trained):
    spec, stage, found, prepared = trained
    create_run(store, spec, "switching")
    held = claim(store, "test")
    save_model(store, prepared.model, spec.images, prepared.float_point, prepared.evaluator.judge)
    for point in found:
        add_point(store, *held, point)
    FileCheckpoints(store, *held).save("switches", 1, stage)
    finish(store, *held, "done")
    return run(store, held[0])


def test_the_command_writes_the_whole_file_or_its_beginning(store, trained, tmp_path, capsys):
    entry = kept(store, trained)
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert main(["planes", str(entry.id), "--out", str(whole)]) == 0
    assert main(["planes", str(entry.id), "--out", str(part), "--switch", "2/2"]) == 0
    assert "the first bytes hold: 2/2 in" in capsys.readouterr().out
    assert whole.read_bytes().startswith(part.read_bytes())
    assert len(part.read_bytes()) < 0.5 * len(whole.read_bytes())
    assert parse_planes(part.read_bytes()).switches == ("2/2",)
    assert main(["planes", str(entry.id), "--out", str(part), "--switch", "3/3"]) == 2
    assert "no switch '3/3'; the file has 2/2, 8/8" in capsys.readouterr().err


def test_each_switch_of_the_file_answers_as_it_was_scored_and_goes_into_exports(store, trained):
    entry, (_, _, found, prepared) = kept(store, trained), trained
    file = parse_planes(planes.compute(store, entry.id))
    x = prepared.evaluator.calibration[0][0]
    for point in found:
        config = file.config(point.allocation)
        prepared.evaluator.state(point)
        with torch.inference_mode():
            wanted = prepared.evaluator.model(x)
            assert torch.equal(apply_bits(load_model("resnet8"), config)(x), wanted)
        assert card_of_config(config).quantizer == "nested"
        carried = [e for e in EXPORTS.values() if not e.needs_model and e.carries(config) is None]
        assert len([write(export, config) for export in carried]) > 3


@pytest.mark.slow
def test_it_is_written_in_a_process_of_its_own(store, trained):
    entry = kept(store, trained)
    assert planes.made_elsewhere(store, entry.id) == planes.compute(store, entry.id)


def test_what_the_process_refuses_is_told(store):
    with pytest.raises(ExportRefused, match=r"were not written: .*99"):
        planes.made_elsewhere(store, 99)


def test_the_run_time_page_serves_it_and_says_what_a_device_holds(store, trained):
    entry = kept(store, trained)
    assert main(["runtime", str(entry.id)]) == 0
    stored = runtime.measured(store, entry)
    assert len(stored) == 2
    choices = options.options_of(
        stored, points.model_facts(store, "resnet8"), "kl", store.costs, judged.CLASSIFIER
    )
    other = replace(
        entry, spec=replace(entry.spec, params={**entry.spec.params, "quantizer": "lsq"})
    )
    assert "the leading bits" in view.rule_words(choices, "weight_bytes", entry)
    assert "a device holds all of them" in view.rule_words(choices, "weight_bytes", other)


def test_other_quantizers_have_no_planes_and_are_told_so(store, trained):
    spec, *rest = trained
    clip = replace(spec, params={**spec.params, "quantizer": "clip"})
    entry = kept(store, (clip, *rest))
    assert not planes.nests(entry)
    with pytest.raises(ExportRefused, match="quantizer clip: bit planes need nested codes"):
        planes.compute(store, entry.id)
    create_run(store, spec, "waiting")
    with pytest.raises(InvalidParams, match="not trained to the end"):
        planes.compute(store, entry.id + 1)
