"""Manual bit-widths for Sony's Model Compression Toolkit. Written by bitdial.

    core_config = mct.core.CoreConfig(bit_width_config=bit_width_config())

and pass core_config to mct.ptq.pytorch_post_training_quantization. Activations keep the 8 bits of
MCT's default target platform.
"""

import re
from typing import Any

MODEL = 'tiny'
WEIGHT_BITS: dict[str, int] = {
    'conv1': 8,
    'layer1.0.conv1': 4,
    'layer1.0.conv2': 4,
    'layer1.0.shortcut.0': 4,
    'fc': 8,
}
ACTIVATION_BITS = 8


def node_name(layer: str) -> str:
    """What torch.fx, and so MCT, calls the node of a module."""
    plain = re.sub("[^0-9a-zA-Z_]+", "_", re.sub(r"(?<=[a-z])([A-Z])", r"_\1", layer).lower())
    return f"_{plain}" if plain[:1].isdigit() else plain


def bit_width_config() -> Any:
    """The widths as MCT's BitWidthConfig; weights of layers with a folded norm are found too."""
    from model_compression_toolkit.core import BitWidthConfig
    from model_compression_toolkit.core.common.network_editors import NodeNameFilter

    config = BitWidthConfig()
    for layer, bits in WEIGHT_BITS.items():
        name = node_name(layer)
        place = NodeNameFilter(name) | NodeNameFilter(f"{name}_bn")
        config.set_manual_weights_bit_width(place, bits, "weight")
    return config
