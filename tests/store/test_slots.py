"""Each worker gets the card with the fewest searches, sees no other, and learns no secret."""

import pytest

from store.workers import slots

LISTED = "GPU 0: NVIDIA H200 (UUID: GPU-1)\n  MIG 1g.18gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA\n"


@pytest.mark.parametrize(
    ("most", "env", "listed", "found"),
    [
        (None, {}, LISTED, ("0", "1")),
        (None, {}, "", ()),
        (1, {}, LISTED, ("0",)),
        (3, {}, "", ("0", "1", "2")),
        (0, {}, LISTED, ()),
        (0, {"CUDA_VISIBLE_DEVICES": "4"}, LISTED, ()),
        (None, {"CUDA_VISIBLE_DEVICES": "4, GPU-1"}, LISTED, ("4", "GPU-1")),
        (1, {"CUDA_VISIBLE_DEVICES": "4,5"}, LISTED, ("4",)),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, LISTED, ()),
        (None, {"CUDA_VISIBLE_DEVICES": "1,-1,0"}, LISTED, ("1",)),
    ],
)
def test_cards_are_counted_and_the_servers_own_limits_obeyed(most, env, listed, found):
    assert slots.find_gpus(most, env, lambda: listed) == found


def test_a_machine_without_the_driver_has_no_card(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert slots.ask_driver() == ""


def test_the_card_with_the_fewest_searches_comes_next():
    busy = []
    for _ in range(5):
        busy.append(slots.choose_slot("auto", ("0", "1"), busy))
    assert busy == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    busy.remove("cuda:1")
    assert slots.choose_slot("cuda", ("0", "1"), busy) == "cuda:1"


@pytest.mark.parametrize(("wanted", "gpus"), [("cpu", ("0",)), ("auto", ()), ("mps", ("0",))])
def test_a_run_that_needs_no_card_gets_none(wanted, gpus):
    assert slots.choose_slot(wanted, gpus, []) == "cpu"


@pytest.mark.parametrize(("cap", "cores", "threads"), [(4, 16, 4), (2, 2, 1), (4, 2, 1)])
def test_workers_share_the_cores(cap, cores, threads):
    assert slots.threads_of(cap, cores) == threads


def test_a_worker_sees_its_card_its_threads_and_its_database(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    env = slots.worker_environment("cuda:1", ("0", "1"), 3, "postgresql://me:secret@h/d", tmp_path)
    assert env["CUDA_VISIBLE_DEVICES"] == "1"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["OMP_NUM_THREADS"] == "3"
    assert env["BITDIAL_DATABASE_URL"] == "postgresql://me:secret@h/d"
    assert env["BITDIAL_DATA"] == str(tmp_path)


def test_a_worker_without_a_card_sees_none_where_there_are_some(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    env = slots.worker_environment("cpu", ("0",), 3, "sqlite:///a", tmp_path)
    assert (env["CUDA_VISIBLE_DEVICES"], env["OMP_NUM_THREADS"]) == ("", "2")
    alone = slots.worker_environment("cpu", (), 3, "sqlite:///a", tmp_path)
    assert "CUDA_VISIBLE_DEVICES" not in alone
