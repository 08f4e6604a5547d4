"""Made-up configurations: every width, quantizer state, and names no layer should have."""

import random

import numpy as np

from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.formats.config import BitConfig
from qcore.models.catalog import bundled_spec
from qcore.problem import Scores

RESNET8 = bundled_spec("resnet8")
RESNET20 = bundled_spec("resnet20")
MOBILENET = bundled_spec("mobilenet")

HOSTILE_NAMES = (
    '<img src=x onerror="alert(1)">',
    "\u202egnp.exe",
    "x" * 500,
    "\U0001f600 layer",
    "a'\"\\\n\t\x85\u2028\x00b",
    "*[!a]?.[weight]",
    "{{7*7}}${7*7}",
    "=cmd|' /C calc'!A0",
    'MODEL = ""',
    "WEIGHT_BITS: dict[str, int] = {}",
)


def hostile_model() -> ModelSpec:
    """A model all of whose names are an attack."""
    layers = tuple(
        LayerSpec(name, "linear", 12 * (at + 1), 3, 3, 40, 4, 3)
        for at, name in enumerate(HOSTILE_NAMES)
    )
    name = "</script><script>alert(1)</script>WEIGHT_BITS: dict[str, int] = {}"
    return ModelSpec(name, "0" * 64, layers)


def allocation(model, weights=(2, 3, 4, 8), activations=(32,), seed=0) -> BitAllocation:
    rng = random.Random(seed)
    return BitAllocation(
        {name: LayerBits(rng.choice(weights), rng.choice(activations)) for name in model.names}
    )


def state_of(model, bits, seed=0):
    """Quantizer state of the right shapes; every third step negative, as ours may be."""
    rng = np.random.default_rng(seed)
    state = {}
    for layer in model.layers:
        arrays = {"bias": rng.normal(size=layer.channels).astype(np.float32)}
        steps = rng.uniform(0.01, 0.1, layer.channels)
        steps[::3] *= -1
        if bits[layer.name].weight != 32:
            arrays["weight_step"] = steps.astype(np.float32)
        width = bits[layer.name].activation
        if width != 32:
            arrays["activation_grid"] = np.asarray([0.05, 0, 2**width - 1, 0], np.float32)
        state[layer.name] = arrays
    return state


def config(model=RESNET8, bits=None, state=True, **changes) -> BitConfig:
    bits = bits or allocation(model)
    scores = Scores(10_000, 0.1, 0.9, 0.89, 0.3)
    return BitConfig(
        model,
        bits,
        state=state_of(model, bits) if state else {},
        search=scores,
        test=scores,
        float_test=Scores(10_000, 0.0, 1.0, 0.92, 0.2),
        provenance={"search": "exact", "seed": 0, "data": "fashion-mnist"},
        **changes,
    )
