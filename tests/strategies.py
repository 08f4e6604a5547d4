"""Hypothesis strategies and a few builders of the torch-free nouns."""

import numpy as np
from hypothesis import strategies as st

from qcore.allocation import (
    BIT_WIDTHS,
    BitAllocation,
    LayerBits,
    LayerSpec,
    ModelSpec,
    is_float_width,
)
from qcore.formats.config import BitConfig
from qcore.problem import Scores

widths = st.sampled_from(BIT_WIDTHS)
layer_bits = st.builds(LayerBits, widths, widths)


@st.composite
def layer_specs(draw: st.DrawFn, name: str = "layer") -> LayerSpec:
    """One layer of any size; groups divide its channels."""
    groups = draw(st.integers(1, 4))
    channels = groups * draw(st.integers(1, 40))
    counts = st.integers(1, 10**7)
    return LayerSpec(
        name=name,
        kind=draw(st.sampled_from(["conv1d", "conv2d", "conv_transpose2d", "linear"])),
        weights=draw(counts),
        channels=channels,
        biases=draw(st.sampled_from([0, channels])),
        macs=draw(counts),
        inputs=draw(counts),
        outputs=draw(counts),
        in_channels=groups * draw(st.integers(1, 40)),
        groups=groups,
    )


@st.composite
def model_specs(draw: st.DrawFn, most: int = 6) -> ModelSpec:
    """A model of 1 to `most` layers, some of its parameters left in float."""
    count = draw(st.integers(1, most))
    names = draw(
        st.lists(st.text(min_size=1, max_size=8), min_size=count, max_size=count, unique=True)
    )
    return ModelSpec(
        name=draw(st.text(min_size=1, max_size=10)),
        digest=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        layers=tuple(draw(layer_specs(name)) for name in names),
        left_in_float=draw(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 1000))),
        warnings=tuple(draw(st.lists(st.text(max_size=20), max_size=2))),
        input_shape=(3, 8, 8),
        classes=draw(st.integers(1, 1000)),
    )


@st.composite
def allocations(draw: st.DrawFn, model: ModelSpec) -> BitAllocation:
    """Any bits for every layer of a model."""
    return BitAllocation({name: draw(layer_bits) for name in model.names})


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    """Scores with or without labels behind them."""
    share, nats = st.floats(0, 1), st.floats(0, 100)
    return Scores(
        n=draw(st.integers(0, 10**6)),
        kl=draw(nats),
        agreement=draw(share),
        accuracy=draw(st.none() | share),
        loss=draw(st.none() | nats),
    )


@st.composite
def configs(draw: st.DrawFn) -> BitConfig:
    """A whole configuration with quantizer state."""
    model = draw(model_specs(3))
    allocation = draw(allocations(model))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return BitConfig(
        model=model,
        allocation=allocation,
        state={
            layer.name: state_of(rng, layer.channels, allocation[layer.name])
            for layer in model.layers
        },
        norms={name: f"{name}.bn" for name in model.names[:1]},
        search=draw(st.none() | scores()),
        test=draw(st.none() | scores()),
        float_test=draw(st.none() | scores()),
        provenance={"seed": draw(st.integers()), "when": draw(st.text(max_size=5))},
    )


def state_of(rng: np.random.Generator, channels: int, bits: LayerBits) -> dict[str, np.ndarray]:
    """Arrays as a quantized model gives them."""
    arrays = {"bias": rng.normal(size=channels).astype(np.float32)}
    if not is_float_width(bits.weight):
        arrays["weight_step"] = rng.lognormal(size=channels).astype(np.float32)
    if not is_float_width(bits.activation):
        arrays["activation_grid"] = rng.normal(size=4).astype(np.float32)
    return arrays


def layer(name: str = "conv", **changes: object) -> LayerSpec:
    """A 3x3 convolution from 2 to 4 channels on 5x5 inputs, padded: 72 weights, 1800 MACs."""
    facts: dict[str, object] = {
        "kind": "conv2d",
        "weights": 72,
        "channels": 4,
        "biases": 4,
        "macs": 1800,
        "inputs": 50,
        "outputs": 100,
        "in_channels": 2,
    }
    return LayerSpec(name=name, **{**facts, **changes})  # type: ignore[arg-type]


def model(*layers: LayerSpec, **changes: object) -> ModelSpec:
    """A model of these layers, or of a convolution and a linear layer with a norm in float."""
    default = (layer(), layer("fc", kind="linear", weights=1001, channels=10, biases=10, macs=1001))
    facts: dict[str, object] = {"left_in_float": {"norm.weight": 7}, "input_shape": (2, 5, 5)}
    return ModelSpec("net", "ab" * 32, layers or default, **{**facts, **changes})  # type: ignore[arg-type]
