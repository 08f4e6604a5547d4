"""Scores are the same to the last bit with and without the cache, and what changed is not found."""

import dataclasses

import pytest
import torch
from torch import nn

from qcore.allocation import BitAllocation, LayerBits
from qcore.cache import NO_CACHE, Cache, entries
from qcore.cache.network import found_layers, identity
from qcore.network.layers import find_layers
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from qcore.scoring import cached
from qcore.trees import tensors

pytestmark = pytest.mark.usefixtures("few_test_images")

SPEC = RunSpec(
    "resnet8", "fashion-mnist", "uniform", weight_bits=(2, 8), activation_bits=(8, 32),
    calibration_images=48, search_images=64, device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"), 10**8)


def measured(prepared):
    layers = prepared.model.layers
    allocations = [
        BitAllocation.uniform(layers, 3),
        BitAllocation({x.name: LayerBits((2, 4, 8)[i % 3], (4, 8)[i % 2])
                       for i, x in enumerate(layers)}),
    ]  # fmt: skip
    points = [prepared.report(point) for point in prepared.score(allocations)]
    table = prepared.problem.sensitivity("kl")
    return (
        [(p.search, p.test, p.test_right) for p in points],
        (prepared.float_point.search, prepared.float_point.test),
        (table.weight, table.activation, table.ranges),
        prepared.evaluator.chosen,
        prepared.model,
    )


def test_nothing_differs_with_an_empty_and_with_a_full_cache(cache, monkeypatch):
    wanted = measured(prepare(SPEC))
    assert measured(prepare(SPEC, cache=cache)) == wanted
    kinds = {path.name.partition("-")[0] for path in entries(cache.folder)}
    assert kinds == {"layers", "ranges", "correction", "moments", "answers"}
    for place in (
        "qcore.cache.network.find_layers",
        "qcore.scoring.evaluator.measure_ranges",
        "qcore.scoring.evaluator.choose_correction",
        "qcore.scoring.evaluator.Evaluator._answered",
        "qcore.ptq.calibration.Correction._learn",
    ):
        monkeypatch.setattr(place, None)  # none of it is worked out again
    assert measured(prepare(SPEC, cache=cache)) == wanted


def test_other_processes_find_what_was_worked_out_here(cache, monkeypatch):
    prepared = prepare(SPEC, cache=cache)
    wanted = next(prepared.score([BitAllocation.uniform(prepared.model.layers, 2)]))
    recipe = prepared.recipe("ptq")
    monkeypatch.setattr("qcore.cache.network.find_layers", None)
    monkeypatch.setattr("qcore.scoring.evaluator.measure_ranges", None)
    (found,) = recipe.context().score([wanted.allocation])
    assert found.search == wanted.search


def test_a_machine_without_the_folder_works_everything_out(tmp_path):
    prepared = prepare(SPEC, cache=Cache(tmp_path / "here", 10**8))
    wanted = next(prepared.score([BitAllocation.uniform(prepared.model.layers, 2)]))
    recipe = prepared.recipe("ptq")
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    (found,) = recipe.context().score([wanted.allocation])
    assert found.search == wanted.search
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("changes", [{"images_seed": 1}, {"calibration_images": 40}])
def test_other_samples_are_calibrated_anew(cache, changes):
    spec = dataclasses.replace(SPEC, **changes)
    found = prepare(spec, cache=cache)
    assert found.float_point.search == prepare(spec).float_point.search
    ranges = [path for path in entries(cache.folder) if path.name.startswith("ranges-")]
    prepare(spec, cache=cache)
    assert ranges == [path for path in entries(cache.folder) if path.name.startswith("ranges-")]
    assert len(ranges) > 1


class Net(nn.Module):
    """A network whose forward pass can be changed without a change of its weights."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.other = nn.Conv2d(1, 3, 3), nn.Linear(3, 2), False

    def forward(self, x):
        x = self.conv(x)
        return self.fc(x.amax((2, 3)) if self.other else x.mean((2, 3)))


def test_weights_structure_and_code_tell_networks_apart():
    torch.manual_seed(0)
    net, x = Net().eval(), torch.rand(2, 1, 8, 8)
    seen = [identity(net, x)]
    assert identity(net, torch.rand(5, 1, 8, 8)) == seen[0]
    net.other = True
    seen.append(identity(net, x))
    net.other = False
    net.fc.bias.data[0] += 1e-3
    seen.append(identity(net, x))
    net.drop = nn.Dropout()
    seen.append(identity(net, x))
    seen.append(identity(net, torch.rand(2, 1, 9, 9)))
    assert len(set(seen)) == len(seen)


def test_layers_come_back_as_they_were_found(tmp_path):
    torch.manual_seed(0)
    net, x, cache = Net().eval(), torch.rand(2, 1, 8, 8), Cache(tmp_path, 10**7)
    wanted = find_layers(net, x, "net")
    for _ in range(2):
        found, narrowed = found_layers(net, x, "net", (), cache)
        assert found == wanted
        assert narrowed.folder == tmp_path
    other, _ = found_layers(net, x, "other", (), cache)
    assert other.spec.name == "other"


def test_a_network_that_answers_otherwise_each_time_is_never_found(tmp_path):
    class Noisy(Net):
        def forward(self, x):
            return super().forward(x) + torch.rand(1)

    net, x, cache = Noisy().eval(), torch.rand(2, 1, 8, 8), Cache(tmp_path, 10**7)
    for _ in range(2):
        found_layers(net, x, "net", (), cache)
    assert len(entries(tmp_path)) == 2


def test_without_a_cache_no_network_is_looked_at_twice(monkeypatch):
    monkeypatch.setattr("qcore.cache.network.identity", None)
    net, x = Net().eval(), torch.rand(2, 1, 8, 8)
    assert found_layers(net, x, "net", (), NO_CACHE)[0] == find_layers(net, x, "net")


def test_answers_come_back_in_the_layout_they_had():
    maps = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    given = [{"a": maps, "b": torch.rand(2, 3)}, {"a": maps[:1], "b": torch.rand(1, 3)}]
    for answers in (given, [each["b"] for each in given]):
        arrays = cached.answers_to_arrays(answers)
        found = cached.answers_from_arrays(arrays, "cpu")
        assert len(found) == len(answers)
        for one, other in zip(found, answers, strict=True):
            for mine, wanted in zip(tensors(one), tensors(other), strict=True):
                assert torch.equal(mine, wanted)
                assert mine.stride() == wanted.stride()
    assert cached.answers_to_arrays([torch.rand(4, 6)[:, ::2]]) is None
    assert cached.answers_to_arrays([torch.rand(4, 6).bfloat16()]) is None
