"""Code of the user's runs only where the operator named it; what it gives is checked."""

import sys
import zipfile

import pytest
import torch

from qcore.errors import InvalidConfig, InvalidData, InvalidParams, UnsupportedModel
from qcore.judges import parse_judge
from qcore.models.loading import load_network
from qcore.network.layers import find_layers
from tests.own_networks import Payload, two_layers

MODULE = "tests.own_networks"
ARGS = ((1, 8, 8), None, {})


def factory(function):
    return load_network("factory", f"{MODULE}:{function}", None, *ARGS)


@pytest.fixture
def leave(monkeypatch):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", f"other.module, {MODULE},pt2")


def test_a_factory_is_not_even_imported_without_leave(monkeypatch, tmp_path):
    (tmp_path / "sneaky.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "sneaky_but_other")
    with pytest.raises(InvalidParams, match="BITDIAL_ALLOW_CODE=sneaky"):
        load_network("factory", "sneaky:build", None, *ARGS)
    assert "sneaky" not in sys.modules


def test_a_factory_with_leave_gives_a_network(leave):
    loaded = factory("TwoLayers")
    assert (loaded.classes, loaded.input_shape) == (3, (1, 8, 8))
    assert any("those that its own code made" in note for note in loaded.notes)


@pytest.mark.parametrize("target", ["os", "os:system('x')", "a b:c", ":x", "../x:y"])
def test_a_target_written_otherwise_is_refused(leave, target):
    with pytest.raises(InvalidParams, match=r"package\.module:function"):
        load_network("factory", target, None, *ARGS)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        ("TwoInputs", UnsupportedModel, r"takes 2 inputs \(x, mask\)"),
        ("not_a_network", UnsupportedModel, "gave a int"),
        ("fails", UnsupportedModel, "ZeroDivisionError: no such luck"),
        ("leaves", UnsupportedModel, "SystemExit: 3"),
        ("nowhere", UnsupportedModel, "nowhere"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(leave, function, kind, message):
    with pytest.raises(kind, match=message):
        factory(function)


@pytest.mark.parametrize(
    ("function", "judge"),
    [
        ("GivesDict", "classes:output=out"),
        ("GivesPair", None),
    ],
)
def test_several_outputs_are_taken_with_a_judge_that_looks_at_them(leave, function, judge):
    found = factory(function)
    if judge is not None:
        assert found.judge == parse_judge(judge)
    else:
        assert [part.name for part in found.judge.parts] == ["classes", "signal"]
    assert any("another can be chosen" in note for note in found.notes) == (judge is None)


@pytest.mark.parametrize("function", ["in_half", "in_double"])
def test_a_network_of_other_floats_is_taken_in_float32(leave, function):
    assert {p.dtype for p in factory(function).network.parameters()} == {torch.float32}


def test_an_input_of_another_shape_is_said(leave):
    with pytest.raises(InvalidData, match=r"two inputs of shape \(5, 8, 8\)"):
        load_network("factory", f"{MODULE}:TwoLayers", None, (5, 8, 8), None, {})


def test_weights_that_give_nan_are_refused(leave, tmp_path):
    state = two_layers().state_dict()
    state["norm.running_var"] = torch.full((4,), -5.0)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InvalidConfig, match="NaN or infinity on ordinary inputs"):
        load_network("factory", f"{MODULE}:TwoLayers", tmp_path / "w.pt", *ARGS)


def test_dynamic_control_flow_is_loaded_and_said(leave, capfd):
    network = factory("Branches").network
    found = find_layers(network, torch.zeros(1, 1, 8, 8), "branches")
    assert any("torch.export cannot follow" in words for words in found.spec.warnings)
    assert capfd.readouterr() == ("", "")
    assert any("left" in words and "never runs" in words for words in found.spec.warnings)


# ---- .pt2


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    batch = {0: torch.export.Dim("n", min=1, max=512)}
    program = torch.export.export(two_layers(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=(batch,))
    torch.export.save(program, path)
    return path


def test_a_pt2_file_is_not_opened_without_leave(exported, tmp_path, monkeypatch):
    monkeypatch.delenv("BITDIAL_ALLOW_CODE", raising=False)
    marker, bad = tmp_path / "ran", tmp_path / "bad.pt2"
    torch.save(Payload(marker), tmp_path / "inner")
    with zipfile.ZipFile(exported) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            inner = (tmp_path / "inner").read_bytes()
            new.writestr(name, inner if name.endswith(".pt") else old.read(name))
    for path in (exported, bad):
        with pytest.raises(InvalidParams, match="BITDIAL_ALLOW_CODE=pt2"):
            load_network("pt2", "", path, *ARGS)
    assert not marker.exists()


def test_a_pt2_file_with_leave_computes_the_same_and_has_layers(leave, exported):
    loaded = load_network("pt2", "", exported, *ARGS)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(loaded.network(x), two_layers()(x), atol=1e-6)
    found = find_layers(loaded.network, x, "net")
    assert [(s.name, s.kind) for s in found.spec.layers] == [("conv", "conv2d"), ("head", "linear")]
    assert dict(found.norms) == {"conv": "norm"}
    assert found.spec.coverage == 1.0


def test_the_shape_of_a_pt2_file_is_its_own(leave, exported):
    assert load_network("pt2", "", exported, None, None, {}).input_shape == (1, 8, 8)


def test_a_program_exported_in_training_mode_is_refused(leave, tmp_path):
    program = torch.export.export(two_layers().train(), (torch.rand(2, 1, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(UnsupportedModel, match=r"training mode.*model\.eval"):
        load_network("pt2", "", tmp_path / "net.pt2", *ARGS)


def test_a_damaged_pt2_file_is_refused_by_name(leave, exported, tmp_path, capfd):
    path = tmp_path / "net.pt2"
    whole = exported.read_bytes()
    for content in (b"PK\x03\x04 cut short", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InvalidConfig, match=r"net\.pt2"):
            load_network("pt2", "", path, *ARGS)
    assert capfd.readouterr() == ("", "")
