"""What a new user tries first: the same rules from the form, from a file, from the command line."""

import numpy as np
import pytest

from pages.shared.rules.entries import LAYERS, TIE
from pages.shared.text import literal
from qcore.costs import COSTS
from qcore.rules.file import parse_rules
from store import all_runs, points_of, run
from store.__main__ import main
from store.runs import queue
from store.runs.points import model_facts
from store.workers import worker
from tests.attention_nets import CLASSES, SIDE
from tests.variants import some

pytestmark = pytest.mark.usefixtures("few_test_images")

FEW = ["--calibration-images", "16", "--search-images", "16", "--reported", "1"]
NETWORKS = {
    # first layer, pattern of the tie, a budget that something keeps, one that nothing does, in KiB
    "resnet8": ("conv1", "layer2.0.conv1, layer2.0.shortcut.0", 45, 24),
    "small-vit": ("conv_proj", "*.{q_proj,k_proj,v_proj}", 5.5, 2),
}


def text_of(name):
    first, tied, *_ = NETWORKS[name]
    return (
        f'rules:\n  - {{layers: "*", weights: [4, 8]}}\n  - {{layers: {first}, lock: 8}}\n'
        f'  - {{layers: "{tied}", tie: weights}}\n'
    )


@pytest.fixture
def network(request, store, place, monkeypatch):
    """A bundled network, or one of one's own with random images: (name, data)."""
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "tests.attention_nets")
    name = request.param
    if name == "resnet8":
        return name, "fashion-mnist"
    x = np.random.default_rng(0).integers(0, 256, (60, 3, SIDE, SIDE), dtype=np.uint8)
    np.savez(place / "d.npz", x=x, y=np.arange(60) % CLASSES)
    data = f"tensors:{place / 'd.npz'}"
    words = ["--source", "factory", "--architecture", "tests.attention_nets:vit"]
    words += ["--shape", f"3x{SIDE}x{SIDE}", "--mean", "0.5,0.5,0.5", "--std", "0.3,0.3,0.3"]
    assert main(["add-model", name, *words, "--data", data, *FEW[:4]]) == 0
    return name, data


def opened(app, network):
    """The form, on the network and its data, with few images."""
    at = app("searches", model=network[0], search="Exact front")
    at.number_input(key="p-exact-points").set_value(4)
    at.number_input(key="f-calibration").set_value(16)
    at.number_input(key="f-search").set_value(16)
    at.number_input(key="f-reported").set_value(1)
    at.multiselect(key="f-limits").set_value(["weight_bytes"]).run()
    return at


def press(at, store, kib):
    """Start a search with a budget; the run that is queued, None where it is refused."""
    at.text_input(key="f-limit-weight_bytes").set_value(f"{kib} KiB").run()
    if any(each.key == "f-anyway" for each in at.checkbox):
        at.checkbox(key="f-anyway").check().run()
    known = {entry.id for entry in all_runs(store)}
    next(b for b in at.button if b.label == "Start search").click().run()
    assert not at.exception
    return next((entry for entry in all_runs(store) if entry.id not in known), None)


def check(store, entry, name):
    """All that was measured keeps all of the rules and the budget."""
    first, _, most, _ = NETWORKS[name]
    assert entry.state == "done", entry.error
    assert entry.spec.rules == parse_rules(text_of(name))
    model = model_facts(store, name)
    points = points_of(store, [entry.id])
    assert points
    for each in points:
        bits = each.point.allocation
        assert bits[first].weight == 8
        assert {one.weight for one in bits.values()} <= {4, 8}
        for group in groups(name, bits):
            assert len({bits[layer].weight for layer in group}) == 1
        assert COSTS["weight_bytes"].total(model, bits) <= most * 1024


def groups(name, bits):
    if name == "resnet8":
        return [("layer2.0.conv1", "layer2.0.shortcut.0")]
    blocks = {layer.rpartition(".")[0] for layer in bits if layer.endswith(".q_proj")}
    assert len(blocks) == 2
    return [[f"{block}.{part}_proj" for part in "qkv"] for block in blocks]


def fill_table(at, name):
    first, tied, *_ = NETWORKS[name]
    rows = [
        {LAYERS: "*", "Weights": "4, 8"},
        {LAYERS: first, "Lock": "8"},
        {LAYERS: tied, TIE: "weights"},
    ]
    table = next(each for each in at.dataframe if (each.key or "").startswith("f-rules-table"))
    at.session_state[table.key] = {"edited_rows": {}, "added_rows": rows, "deleted_rows": []}
    return at.run()


def send_file(at, name):
    sent = ("device.yaml", text_of(name).encode(), "application/yaml")
    return at.file_uploader(key="f-rules-file").set_value(sent).run()


# each way by default with one of the two
@pytest.mark.parametrize("network", some(reversed(NETWORKS), 1), indirect=True)
def test_from_a_table_or_a_file_every_point_keeps_the_rules_and_the_budget(app, store, network):
    name, _ = network
    _, _, most, too_little = NETWORKS[name]
    at = fill_table(opened(app, network), name)
    # what nothing can keep is refused with the least that something does
    assert press(at, store, too_little) is None
    assert any(literal("smallest possible is") in each.value for each in at.error)
    typed = press(at, store, most)
    at.button(key="f-rules-clear").click().run()
    sent = press(send_file(at, name), store, most)
    assert sent.spec == typed.spec
    worker.work(store, *queue.claim(store, "here"), worker.Signals())
    check(store, run(store, typed.id), name)


@pytest.mark.parametrize("network", some(NETWORKS, 1), indirect=True)
def test_from_the_command_line_every_point_keeps_the_rules_and_the_budget(
    store, network, capsys, tmp_path
):
    name, data = network
    _, _, most, too_little = NETWORKS[name]
    file = tmp_path / "device.yaml"
    file.write_text(text_of(name))
    words = ["run", "--model", name, "--data", data, "--search", "exact", "--param", "points=4"]
    words += ["--rules", str(file), "--anyway", *FEW, "--limit"]
    assert main([*words, f"weight_bytes={too_little}KiB"]) == 2
    assert "smallest possible is" in capsys.readouterr().err
    assert all_runs(store) == []
    assert main([*words, f"weight_bytes={most}KiB"]) == 0
    check(store, all_runs(store)[0], name)
