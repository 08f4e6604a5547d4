"""Networks that take no image go the whole way: added, checked, searched, measured again."""

import numpy as np
import pytest
import torch

from qcore.add_network import add_network, change_judge, check_network_on, measure_table
from qcore.allocation import BitAllocation, LayerBits
from qcore.data import load_data
from qcore.data.samples import Samples
from qcore.errors import DataUnavailable, InvalidData, InvalidParams, UnsupportedModel
from qcore.example_inputs import example_inputs
from qcore.formats.apply import apply_bits
from qcore.formats.config import dump_bits, parse_bits
from qcore.inputs import Input, parse_input
from qcore.judges import parse_judge
from qcore.judges.proposal import propose
from qcore.models.cards import read_cards
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import load_model
from qcore.prepare import prepare
from qcore.ptq.model import QuantizedModel
from qcore.run_spec import RunSpec
from qcore.scoring.verification import measure
from qcore.trees import call
from tests.variants import crossed

MODULE = "tests.typed_nets"
TEXT = ("ids:int64:8<50=0", "mask:bool:8=0")
NETWORKS = {
    "encoder": (TEXT, "", "embedding"),
    "language_model": (TEXT, "tokens:ids=ids:mask=mask", "tokens"),
    "detector": (("x:float32:2x20",), "", "parts"),
    "autoencoder": (("x:float32:12",), "signal:measure=auc", "signal"),
}
EVERY = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", MODULE)
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    return tmp_path


def columns(name: str, n: int = 120, seed: int = 0) -> dict[str, np.ndarray]:
    """Data of a network, as a user would save them."""
    rng = np.random.default_rng(seed)
    if name in ("encoder", "language_model"):
        length = rng.integers(3, 8, n)
        mask = np.arange(7)[None] < length[:, None]
        return {"ids": rng.integers(1, 50, (n, 7)) * mask, "mask": mask}
    if name == "detector":
        return {"x": rng.normal(size=(n, 2, 20)).astype(np.float32), "y": rng.integers(0, 3, n)}
    return {"x": rng.normal(size=(n, 12)), "y": np.arange(n) % 2}


def added(name: str, folder) -> str:
    inputs, judge, _ = NETWORKS[name]
    np.savez(folder / "data.npz", **columns(name))
    new = NewNetwork(
        name.replace("_", "-"),
        "factory",
        f"{MODULE}:{name}",
        inputs=tuple(map(parse_input, inputs)),
        judge=parse_judge(judge) if judge else None,
    )
    add_network(NewNetwork.from_json(new.to_json()))
    return new.name


@EVERY
def test_a_network_without_images_is_added_checked_and_searched(name, folder):
    key = added(name, folder)
    card = read_cards()[0][key]
    assert card.judge.name == NETWORKS[name][2]
    data = f"tensors:{folder / 'data.npz'}"
    checked = check_network_on(key, data, 40, 40)
    assert checked.report["splits"] == {"calibration": 40, "search": 40, "test": 40}
    spec = RunSpec(
        key, data, "exact", calibration_images=40, search_images=40, weight_bits=(2, 4, 8)
    )
    prepared = prepare(spec)
    low, high = (
        next(prepared.score([allocation])).search
        for allocation in (uniform(prepared, 2), uniform(prepared, 8))
    )
    assert 0 < high.kl < low.kl
    point = prepared.report(next(prepared.score([uniform(prepared, 4)])))
    assert point.test is not None
    assert point.test_right is not None
    config = parse_bits(dump_bits(prepared.config(point, {"data": data})))
    again = apply_bits(load_model(key), config)
    x = prepared.evaluator.search[0][0]
    with torch.no_grad():
        ours, theirs = prepared.evaluator.model(x), call(again, x)
    for one, other in zip(
        torch.utils._pytree.tree_leaves(ours), torch.utils._pytree.tree_leaves(theirs), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6)


def uniform(prepared, bits: int):
    return BitAllocation({name: LayerBits(bits, 32) for name in prepared.model.names})


@pytest.mark.parametrize(("name", "kind"), crossed(NETWORKS, ["gradient", "kl", "weight_mse"]))
def test_sensitivities_of_a_network_without_images(name, kind, folder):
    key = added(name, folder)
    tables = {}
    table = measure_table(
        key, f"tensors:{folder / 'data.npz'}", kind, (2, 8), (32, 8), 40, 40,
        save_table=lambda key, digest, table: tables.update({key: table}),
    )  # fmt: skip
    assert len(tables) == 1
    for row in table.weight.values():
        assert row[2] > row[8] >= -1e-6
    if kind != "weight_mse":
        assert table.unit == read_cards()[0][key].judge.unit


def test_a_configuration_is_measured_again_with_its_judge(folder):
    key = added("encoder", folder)
    data = f"tensors:{folder / 'data.npz'}"
    spec = RunSpec(key, data, "exact", calibration_images=40, search_images=40)
    prepared = prepare(spec)
    point = prepared.report(next(prepared.score([uniform(prepared, 3)])))
    told = {"data": data, "calibration_images": 40, "search_images": 40}
    found = measure(prepared.config(point, told))
    assert found.kl == pytest.approx(point.test.kl, rel=1e-4)
    assert found.headline == pytest.approx(point.test.headline)


WRONG = {
    "an id out of range": ({"ids": 77}, InvalidData, "holds the id 77; the vocabulary has 50"),
    "a column missing": ({"ids": None}, InvalidData, "has no ids; it holds mask"),
    "samples too long": ({"ids": "long"}, InvalidData, "cut"),
    "fractions for ids": ({"ids": 0.5}, InvalidData, "takes whole numbers"),
    "an empty mask": ({"mask": 0}, InvalidData, "is empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_data_that_do_not_fit_are_said(case, folder):
    key = added("encoder", folder)
    changes, kind, words = WRONG[case]
    given = columns("encoder")
    notes = ()
    for name, value in changes.items():
        if value is None:
            del given[name]
        elif value == "long":
            given = {n: np.concatenate([v, v], 1) for n, v in given.items()}
        else:
            given[name] = given[name].astype(np.array(value).dtype)
            given[name][5] = value
    np.savez(folder / "data.npz", **given)
    name = f"tensors:{folder / 'data.npz'}"
    if case == "samples too long":
        data = load_data(name, calibration=40, search=40, model=key)
        assert any("cut from 14 to 8" in note for note in data.notes)
        return
    with pytest.raises(kind) as caught:
        prepare(RunSpec(key, name, "exact", calibration_images=40, search_images=40))
    assert words in str(caught.value), notes


def test_images_are_not_what_a_text_network_takes(folder):
    key = added("encoder", folder)
    with pytest.raises(InvalidData, match="a file with a column for each input"):
        load_data("fashion-mnist", calibration=8, search=8, model=key)
    with pytest.raises(DataUnavailable):
        load_data("tensors:/nowhere.npz", calibration=8, search=8, model=key)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((), "takes 2 inputs (ids, mask). Say what each one is"),
        (("ids:int64:8<50",), "you named ids. Name every one"),
        (("ids:int64:8<900", "mask:bool:8"), "how many ids it knows"),
        (("ids:float32:8", "mask:bool:8"), "Check the names, shapes and kinds"),
    ],
)
def test_inputs_that_the_network_does_not_take(inputs, words, folder):
    new = NewNetwork("n", "factory", f"{MODULE}:encoder", inputs=tuple(map(parse_input, inputs)))
    with pytest.raises((UnsupportedModel, InvalidData)) as caught:
        add_network(new)
    assert words in str(caught.value)
    assert read_cards()[0] == {}


def test_a_judge_that_does_not_fit_is_refused(folder):
    new = NewNetwork(
        "n", "factory", f"{MODULE}:encoder", inputs=tuple(map(parse_input, TEXT)),
        judge=parse_judge("classes"),
    )  # fmt: skip
    with pytest.raises(UnsupportedModel, match="'classes' needs outputs"):
        add_network(new)
    assert read_cards()[0] == {}


def test_the_judge_of_an_added_network_is_changed_only_to_one_that_fits(folder):
    key = added("encoder", folder)
    judge = parse_judge("embedding:pool=first")
    assert change_judge(key, judge)[0] == judge
    assert read_cards()[0][key].judge == judge
    with pytest.raises(UnsupportedModel, match="'classes' needs outputs"):
        change_judge(key, parse_judge("classes"))
    assert read_cards()[0][key].judge == judge
    with pytest.raises(InvalidParams, match="comes with its judge"):
        change_judge("resnet8", judge)


def test_true_signals_beyond_the_peak_are_said(folder):
    new = NewNetwork(
        "rebuilder", "factory", f"{MODULE}:autoencoder", inputs=(parse_input("x:float32:12"),),
        judge=parse_judge("signal"),
    )  # fmt: skip
    _, _, notes = add_network(new)
    assert any("those that its own code made" in note for note in notes)
    given = columns("autoencoder") | {"y": 50 + columns("autoencoder")["x"]}
    np.savez(folder / "data.npz", **given)
    checked = check_network_on("rebuilder", f"tensors:{folder / 'data.npz'}", 40, 40)
    assert any("set the judge's peak to" in note for note in checked.report["notes"])


def test_checking_a_float_network_prepares_no_quantized_weights(folder, monkeypatch):
    key, asked = added("encoder", folder), []
    plain = QuantizedModel.prepared_weight

    def watched(model: QuantizedModel, name: str, bits: int) -> torch.Tensor:
        asked.append(bits)
        return plain(model, name, bits)

    monkeypatch.setattr(QuantizedModel, "prepared_weight", watched)
    np.savez(folder / "many.npz", **columns("encoder", 300))
    check_network_on(key, f"tensors:{folder / 'many.npz'}", 100, 40)
    assert set(asked) == {32}


def test_a_padding_mask_may_be_empty_and_a_mask_may_not():
    given = {"ids": torch.ones(3, 4), "m": torch.zeros(3, 4, dtype=torch.bool)}
    for name, fine in (("key_padding_mask", True), ("attention_mask", False)):
        inputs = (Input("ids", (4,)), Input(name, (4,), "bool"))
        columns_ = {"ids": given["ids"], name: given["m"]}
        assert bool(example_inputs(inputs, 2)[name].any()) != fine
        made = {"ids": torch.ones(2, 4, dtype=torch.int64), name: torch.ones(2, 4)}
        judge = propose(torch.zeros(2, 4, 9), made)
        assert judge.mask == ("" if fine else name)
        if fine:
            assert len(Samples(columns_, inputs)) == 3
        else:
            with pytest.raises(InvalidData, match="'attention_mask' of sample 0 is empty"):
                Samples(columns_, inputs)
