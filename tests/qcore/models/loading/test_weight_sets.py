"""A checkpoint may hold several sets of weights, and other things: what is taken is said."""

import json

import pytest
import torch
from torch import nn

from qcore.add_network import add_network
from qcore.errors import InvalidConfig
from qcore.models.cards import card_folder
from qcore.models.loading import load_network
from qcore.models.loading.names import named_for
from qcore.models.loading.weight_sets import is_averaged, sets_in
from qcore.models.loading.weights import fill, read_sets
from qcore.models.new_network import NewNetwork
from qcore.models.zoo import build_model, load_model

RAW, AVERAGED = (build_model("resnet8", classes=3, seed=seed).state_dict() for seed in (1, 2))


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def loaded(folder, checkpoint, key=""):
    torch.save(checkpoint, folder / "w.pth")
    return load_network("bundled", "resnet8", folder / "w.pth", None, None, {}, weights_key=key)


def which(network):
    bias = network.state_dict()["fc.weight"]
    return {True: "raw"}.get(torch.equal(bias, RAW["fc.weight"]), "") or (
        "averaged" if torch.equal(bias, AVERAGED["fc.weight"]) else "neither"
    )


BESIDE = {
    "state_dict_ema": {"epoch": 9, "state_dict": RAW, "state_dict_ema": AVERAGED},
    "model_ema": {"model": RAW, "model_ema": under("module.", AVERAGED), "optimizer": {}},
    "ema": {"model": RAW, "ema": AVERAGED},
    "ema.shadow": {"net": RAW, "ema": {"decay": 0.99, "shadow": AVERAGED}},
    "ema_state_dict": {"ema_state_dict": AVERAGED, "state_dict": RAW},
    "swa": {"weights": RAW, "swa": under("module.", {**AVERAGED, "n_averaged": torch.ones(1)})},
    "ema_model": {"state_dict": {**under("model.", RAW), **under("ema_model.", AVERAGED)}},
}


@pytest.mark.parametrize("key", BESIDE)
def test_averaged_weights_are_proposed_and_the_raw_ones_can_be_taken(tmp_path, key):
    first = loaded(tmp_path, BESIDE[key])
    assert which(first.network) == "averaged"
    assert first.weights_key.endswith(key)
    (note,) = [note for note in first.notes if "were taken" in note]
    assert f"averaged weights under {first.weights_key}" in note
    raw = next(k for k in read_sets(tmp_path / "w.pth") if k != first.weights_key)
    assert raw in note
    second = loaded(tmp_path, BESIDE[key], raw)
    assert which(second.network) == "raw"
    assert second.notes == ()


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"epoch": 9, "state_dict_ema": AVERAGED},
        {"model": {"state_dict": AVERAGED}, "epoch": 3},
        {"checkpoint": {"model": {"state_dict": AVERAGED}}},
        {"ema": {"module": AVERAGED}},
        {"params": AVERAGED, "args": {"lr": 0.1}},
    ],
)
def test_one_set_is_read_wherever_it_lies(tmp_path, checkpoint):
    network = loaded(tmp_path, checkpoint)
    assert which(network.network) == "averaged"
    assert network.notes == ()


def test_averaged_weights_that_do_not_fit_are_passed_over_in_words(tmp_path):
    few = {name: value for name, value in AVERAGED.items() if "running" not in name}
    network = loaded(tmp_path, {"state_dict": RAW, "state_dict_ema": few})
    assert which(network.network) == "raw"
    assert "state_dict_ema (does not fit)" in network.notes[0]


@pytest.mark.parametrize("flat", [True, False])
def test_of_a_student_and_a_teacher_one_has_to_be_named(tmp_path, flat):
    both = {"student": RAW, "teacher": AVERAGED}
    if flat:
        both = {**under("student.", RAW), **under("teacher.", AVERAGED)}
    with pytest.raises(InvalidConfig, match=r"student.*teacher.*--weights-key student"):
        loaded(tmp_path, both)
    assert which(loaded(tmp_path, both, "teacher").network) == "averaged"
    with pytest.raises(InvalidConfig, match="holds no weights under 'techer'; it holds"):
        loaded(tmp_path, both, "techer")


def test_the_state_of_an_optimiser_is_no_set_of_weights():
    state = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    document = {"model": RAW, "optimizer": state, "optimizer_d": {"x": torch.ones(1)}}
    assert list(sets_in(document)) == ["model"]


@pytest.mark.parametrize(
    ("key", "averaged"),
    [
        ("model_ema", True),
        ("EMA", True),
        ("swa_model", True),
        ("teacher", False),
        ("schema", False),
    ],
)
def test_averaged_weights_are_known_by_their_key(key, averaged):
    assert is_averaged(key) is averaged


def test_a_network_keeps_the_set_it_was_added_with(tmp_path):
    torch.save(BESIDE["state_dict_ema"], tmp_path / "w.pth")
    for key, wanted in (("", "averaged"), ("state_dict", "raw")):
        new = NewNetwork(
            "mine",
            "bundled",
            "resnet8",
            str(tmp_path / "w.pth"),
            weights_key=key,
            replace=bool(key),
        )
        add_network(NewNetwork.from_json(json.loads(json.dumps(new.to_json()))))
        assert which(load_model("mine")) == wanted
    # a card from before sets were kept had the raw weights
    path = card_folder("mine") / "card.json"
    card = json.loads(path.read_text())
    del card["weights_key"]
    path.write_text(json.dumps(card))
    assert which(load_model("mine")) == "raw"


# ---- names


@pytest.mark.parametrize("prefix", ["model.", "net.backbone.", "model._orig_mod."])
def test_what_lies_beside_a_prefix_is_passed_over_in_words(tmp_path, prefix):
    state = {**under(prefix, RAW), "criterion.weight": torch.ones(10)}
    network = loaded(tmp_path, {"state_dict": state, "hyper_parameters": {"lr": 0.1}})
    assert which(network.network) == "raw"
    (note,) = network.notes
    assert "passed over: criterion.weight." in note


def test_one_missing_tensor_behind_a_prefix_is_one_missing_name(tmp_path):
    state = under("model.", RAW)
    del state["model.fc.bias"]
    with pytest.raises(InvalidConfig) as error:
        loaded(tmp_path, {"state_dict": {**state, "loss.w": torch.ones(1)}})
    assert "missing: fc.bias. Use" in str(error.value)


def test_a_tensor_of_the_network_that_is_not_in_it_is_unexpected(tmp_path):
    with pytest.raises(InvalidConfig, match=r"unexpected: fc\.scale"):
        loaded(tmp_path, under("model.", {**RAW, "fc.scale": torch.ones(1)}))


def test_a_part_that_was_compiled_has_its_plain_names(tmp_path):
    state = {name.replace("fc.", "fc._orig_mod."): value for name, value in RAW.items()}
    assert which(loaded(tmp_path, state).network) == "raw"


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_floats_of_eight_bits_are_refused_as_quantized(tmp_path, kind):
    state = {n: v.to(kind) if v.dim() > 1 else v for n, v in RAW.items()}
    with pytest.raises(InvalidConfig, match=r"as float8.*is quantized already. Bring the float"):
        loaded(tmp_path, state)


# ---- shared tensors


class Tied(nn.Module):
    """Two convolutions with one weight and biases of their own."""

    def __init__(self, tied=True):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
        if tied:
            self.b.weight = self.a.weight


@pytest.mark.parametrize("how", ["metadata", "first name", "second name", "both", "prefix"])
def test_a_tensor_with_two_names_may_be_stored_once(tmp_path, how):
    from safetensors.torch import save_file, save_model

    net, other, path = Tied(), Tied(), tmp_path / "w.safetensors"
    state = {name: value.clone() for name, value in net.state_dict().items()}
    if how == "metadata":
        save_model(net, path, metadata={"format": "pt"})
    else:
        gone = {"first name": "b.weight", "second name": "a.weight", "prefix": "a.weight"}.get(how)
        kept = {name: value for name, value in state.items() if name != gone}
        save_file(under("model." if how == "prefix" else "", kept), path)
    assert fill(other, read_sets(path)[""], "tied", path.name) == ()
    assert all(torch.equal(v, state[n]) for n, v in other.state_dict().items())
    assert other.a.weight is other.b.weight


def test_a_network_that_does_not_share_takes_a_shared_file_apart(tmp_path):
    from safetensors.torch import save_model

    net, other = Tied(), Tied(tied=False)
    save_model(net, tmp_path / "w.safetensors")
    fill(other, read_sets(tmp_path / "w.safetensors")[""], "free", "w.safetensors")
    assert torch.equal(other.b.weight, net.b.weight)


def test_two_values_of_one_tensor_are_refused():
    state = Tied(tied=False).state_dict()
    with pytest.raises(InvalidConfig, match=r"different values for a\.weight and b\.weight"):
        named_for(Tied(), state, "w.pt")
