"""Bit planes of a network that switches: bit-exact at every width, and whole where cut off."""

import contextlib
import json
from functools import cache

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qcore.allocation import LayerBits
from qcore.costs.budget import Budget, make_options
from qcore.errors import ExportRefused, InvalidAllocation, InvalidConfig
from qcore.formats.apply import apply_bits
from qcore.models.bundled import ResNet
from qcore.network.layers import find_layers
from qcore.planes.reading import parse_planes, plane_name
from qcore.planes.trained import planes_of
from qcore.planes.writing import dump_planes, pack_planes
from qcore.problem import Problem
from qcore.qat.model import TrainableModel
from qcore.qat.switchable.size import payload_of_all
from qcore.qat.switches import NormPlan, random_allocation, rungs_of, switches_of
from tests.small_nets import found, small_images, small_net

X = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))
WIDTHS = (8, 4, 3, 1)


def network(kind="switch", quantizer="nested", widths=WIDTHS, inputs=None):
    rungs = {
        n: tuple(LayerBits(b, b if inputs is None else inputs) for b in widths)
        for n in found(0).spec.names
    }
    # one end has a single width, as when it is pinned
    rungs["stem.0"] = rungs["stem.0"][:1]
    plan = NormPlan(kind, switches_of(rungs))
    model = TrainableModel(small_net(), found(0), rungs, quantizer=quantizer, plan=plan)
    model.start_scales([x for x, _ in small_images(64).batches(32)])
    for place, norm in enumerate(model.norms.values()):
        for more, copy in enumerate(getattr(norm, "copies", {"": norm}).values()):
            copy.running_mean += 0.01 * (place + more + 1)
            copy.weight.data *= 1 + 0.1 * more
    model.set_training(False)
    return model


@pytest.fixture(scope="module", params=["switch", "producer", "pair", "consumer", "shared"])
def made(request):
    model = network(request.param)
    return model, dump_planes(planes_of(model, found(0), {"search": "spnets"}))


def drawn(model):
    rng = np.random.default_rng(0)
    mixed = [random_allocation(model.plan.rungs, rng) for _ in range(5)]
    return [*model.plan.switches.values(), *(mixed if model.plan.kind != "switch" else [])]


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(1, 8), data=st.data())
def test_a_plane_is_one_bit_of_every_code(bits, data):
    codes = data.draw(st.lists(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), min_size=1))
    planes = pack_planes("x", np.array(codes), bits)
    assert list(planes) == [plane_name("x", place) for place in range(bits)]
    for place, packed in enumerate(planes.values()):
        assert len(packed) == -(-len(codes) // 8)
        read = [int(packed[at // 8]) >> at % 8 & 1 for at in range(len(codes))]
        assert read == [int(format(code % 2**bits, f"0{bits}b")[place]) for code in codes]


def test_every_allocation_is_read_back_to_the_last_bit(made):
    model, content = made
    planes = parse_planes(content)
    assert planes.switches == tuple(model.plan.switches)
    for allocation in drawn(model):
        model.set_allocation(allocation)
        wanted, got = model.state(), planes.state(allocation)
        assert set(got) == set(wanted)
        for name, arrays in wanted.items():
            assert set(got[name]) == set(arrays)
            for key, array in arrays.items():
                assert np.array_equal(got[name][key], array), (name, key)
        with torch.no_grad():
            logits = apply_bits(small_net(), planes.config(allocation))(X)
            assert torch.allclose(logits, model(X), atol=1e-4)


def test_the_network_is_left_as_it_was(made):
    model, _ = made
    model.set_allocation(drawn(model)[1])
    before = model(X)
    planes_of(model, found(0))
    assert torch.equal(model(X), before)


def test_a_file_cut_off_anywhere_has_just_the_widths_whose_bits_are_there(made):
    model, content = made
    whole = parse_planes(content)
    assert sorted(whole.ends.values())[-1] == len(content)
    for size in range(min(whole.ends.values()), len(content) + 1, 29):
        part = parse_planes(content[:size])
        assert part.switches == tuple(s for s in model.plan.switches if whole.ends[s] <= size)
        for layer in model.layers:
            kept = sum(plane_name(layer, place) in part.tensors for place in range(8))
            rungs = {bits.weight for bits in model.plan.rungs[layer]}
            assert set(part.widths(layer)) == {width for width in rungs if width <= kept}


def test_a_shorter_file_answers_alike_at_what_it_holds_and_refuses_the_rest_in_words(made):
    model, content = made
    whole = parse_planes(content)
    for name, allocation in model.plan.switches.items():
        part = parse_planes(content[: whole.ends[name]])
        for other, bits in model.plan.switches.items():
            if other in part.switches:
                for layer, arrays in part.state(bits).items():
                    for key, array in whole.state(bits)[layer].items():
                        assert np.array_equal(arrays[key], array)
            else:
                match = f"cut off before layer .* at {other.split('/')[0]} bits.*{part.switches[0]}"
                with pytest.raises(InvalidAllocation, match=match):
                    part.state(bits)
        assert name in part.switches
        with pytest.raises(InvalidAllocation, match="not trained"):
            part.state(allocation.replace("head", LayerBits(2, 2)))


def test_what_is_no_such_file_is_refused_in_words(made):
    content = made[1]
    start = 8 + int.from_bytes(content[:8], "little")
    for size in (0, 7, 8, 100, start - 1):
        with pytest.raises(InvalidConfig, match="no file of bit planes"):
            parse_planes(content[:size])
    with pytest.raises(InvalidConfig, match=r"cut off before its bit planes begin.*at least"):
        parse_planes(content[: start + 5])


@cache
def small_file():
    return dump_planes(planes_of(network(widths=(4, 2)), found(0)))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_header_never_gives_a_traceback(data):
    content = small_file()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    key = data.draw(st.sampled_from(sorted(header["__metadata__"])))
    values = st.sampled_from(["", "{}", "[]", "null", "-1", '{"stem.0": 3}', '{"2/2": "x"}', "9"])
    header["__metadata__"][key] = data.draw(values)
    text = json.dumps(header).encode()
    odd = len(text).to_bytes(8, "little") + text + content[8 + length :]
    with contextlib.suppress(InvalidConfig):
        assert parse_planes(odd).switches is not None


@pytest.mark.parametrize("key", ["copies", "inputs", "weights", "reader", "adds"])
@pytest.mark.parametrize("value", [None, {}, {"2/2": 7}, [2], {"2": []}, "x", -1])
def test_a_layer_described_oddly_is_refused_in_words_or_read(key, value):
    content = small_file()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    layers = json.loads(header["__metadata__"]["layers"])
    layers["depthwise"][key] = value
    header["__metadata__"]["layers"] = json.dumps(layers)
    text = json.dumps(header).encode()
    odd = len(text).to_bytes(8, "little") + text + content[8 + length :]
    with contextlib.suppress(InvalidConfig):
        planes = parse_planes(odd)
        for allocation in planes.plan.switches.values():
            assert set(planes.state(allocation)) == set(planes.model.names)


def test_the_library_of_safetensors_opens_the_whole_file(made):
    content = made[1]
    tensors = safetensors.numpy.load(content)
    for name, array in parse_planes(content).tensors.items():
        assert np.array_equal(tensors[name], array)


def test_a_float_teacher_is_kept_behind_the_planes():
    model = network(widths=(32, 4, 2))
    content = dump_planes(planes_of(model, found(0)))
    whole = parse_planes(content)
    part = parse_planes(content[: whole.ends["4/4"]])
    # the end with a single width has it in float
    assert (whole.switches, part.switches) == (("32/32", "4/4", "2/2"), ("4/4", "2/2"))
    inner = parse_planes(content[: whole.ends["2/2"]])
    assert (inner.widths("stem.0"), inner.widths("head")) == ((32,), (2,))
    for allocation in model.plan.switches.values():
        model.set_allocation(allocation)
        for name, arrays in model.state().items():
            for key, array in arrays.items():
                assert np.array_equal(whole.state(allocation)[name][key], array)


def test_only_nested_codes_of_a_network_that_switches_are_written():
    for quantizer in ("clip", "lsq", "dorefa"):
        with pytest.raises(ExportRefused, match=f"'{quantizer}'.*Train with quantizer=nested"):
            planes_of(network(quantizer=quantizer), found(0))
    rungs = {n: (LayerBits(4, 4),) for n in found(0).spec.names}
    alone = TrainableModel(small_net(), found(0), rungs, quantizer="nested")
    with pytest.raises(ExportRefused, match="no switches"):
        planes_of(alone, found(0))


def test_the_file_of_resnet8_takes_its_payload_and_a_header():
    float_network = ResNet(1).eval()
    layers = find_layers(float_network, torch.zeros(1, 1, 28, 28), "resnet8")
    options = make_options(layers.spec.layers, (2, 3, 4, 8), (2, 3, 4, 8), 8)
    rungs = rungs_of(Problem(layers.spec, options, Budget(), None))
    plan = NormPlan("switch", switches_of(rungs))
    model = TrainableModel(float_network, layers, rungs, quantizer="nested", plan=plan)
    model.start_scales([torch.rand(4, 1, 28, 28)])
    content = dump_planes(planes_of(model, layers))
    sizes, payload = parse_planes(content).sizes, payload_of_all(model)
    assert sizes == {key: value for key, value in payload.to_json().items() if key != "total"}
    assert len(content) == payload.total + 8 + int.from_bytes(content[:8], "little")
    # two bits of all but the ends, which keep their eight
    ends = parse_planes(content).ends
    inner = sum(x.weights for x in layers.spec.layers[1:-1])
    assert ends["8/8"] - ends["2/2"] == inner * 6 // 8
