"""Made-up wirings: facts about layers with nothing but who feeds whom."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from qcore.allocation import LayerSpec, ModelSpec


def model_of(
    producers: Mapping[str, Sequence[str]],
    channels: Mapping[str, int] | None = None,
    wanted: Mapping[str, int] | None = None,
) -> ModelSpec:
    """A model of these layers, in this order.

    Args:
        producers: Layer name to the names it reads.
        channels: Layer name to its output channels; 8 where it is not there.
        wanted: Layer name to its input channels; 8 where it is not there.
    """
    fed: dict[str, list[str]] = defaultdict(list)
    for name, sources in producers.items():
        for source in dict.fromkeys(sources):
            fed[source].append(name)
    layers = []
    for name, sources in producers.items():
        out, into = (channels or {}).get(name, 8), (wanted or {}).get(name, 8)
        layers.append(
            LayerSpec(
                name,
                "conv2d",
                weights=9 * out * into,
                channels=out,
                biases=out,
                macs=9 * out * into * 196,
                inputs=196 * into,
                outputs=196 * out,
                in_channels=into,
                producers=tuple(sources),
                consumers=tuple(fed[name]),
            )
        )
    digest = hashlib.sha256(repr(layers).encode()).hexdigest()
    return ModelSpec("made", digest, tuple(layers))


@cache
def residual(blocks: int) -> ModelSpec:
    """A stem, blocks of two layers with a sum around each, and a last layer."""
    producers, stream = {"stem": ()}, ["stem"]
    for block in range(blocks):
        producers[f"{block}.one"] = tuple(stream)
        producers[f"{block}.two"] = (f"{block}.one",)
        stream = [*stream, f"{block}.two"]
    return model_of({**producers, "last": tuple(stream)})


def chain(count: int) -> ModelSpec:
    """Layers one after another."""
    return model_of({f"l{at}": (f"l{at - 1}",) if at else () for at in range(count)})
