"""Large files that are as they should be: `good_files` lists them."""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.hostile.files import File, Write


def _state(architecture: str, safe: bool) -> Write:
    """The state of a network of torchvision's, fresh: of its true size, and worth nothing."""

    def write(path: Path) -> None:
        import torch
        from safetensors.torch import save_file

        from qcore.models._torchvision import torchvision

        state = torchvision.models.get_model(architecture, weights=None).state_dict()
        if safe:
            save_file(state, path)
        else:
            torch.save(state, path)

    return write


def _wide_onnx(path: Path) -> None:
    """Three products of matrices, 1.02 GB of weights in a file beside the network."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    wide, beside = 15_900, path.parent / "w.bin"
    rng = np.random.default_rng(0)
    nodes, stored, start, name = [helper.make_node("Flatten", ["x"], ["v0"])], [], 0, "v0"
    with beside.open("wb") as stream:
        for at, (before, after) in enumerate(((192, wide), (wide, wide), (wide, 10)), start=1):
            values = rng.standard_normal((before, after), np.float32) / np.float32(before**0.5)
            weight = numpy_helper.from_array(values[:1], f"w{at}")
            weight.ClearField("raw_data")
            weight.dims[:] = [before, after]
            weight.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (
                ("location", beside.name), ("offset", start), ("length", values.nbytes),
            ):  # fmt: skip
                entry = weight.external_data.add()
                entry.key, entry.value = key, str(value)
            stream.write(values.tobytes())
            start += values.nbytes
            stored.append(weight)
            nodes.append(helper.make_node("MatMul", [name, f"w{at}"], [f"v{at}"]))
            name = f"v{at}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, 1, ["n", 10])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    os.sync()


def good_files() -> Iterator[File]:
    """Every large file that must be read."""
    yield File("torchvision:vgg16", "its own network", ".pt", _state("vgg16", safe=False))
    yield File("torchvision:vgg16", "its own network", ".safetensors", _state("vgg16", safe=True))
    yield File("torchvision:vit_l_16", "its own network", ".safetensors",
               _state("vit_l_16", safe=True))  # fmt: skip
    yield File("onnx", "1.02 GB of its weights in another file", ".onnx", _wide_onnx)
