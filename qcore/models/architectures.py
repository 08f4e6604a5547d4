"""What networks bitdial can build itself, for weights of the user's. Torch-free.

Those of the bundled networks, and the four reference networks of MLPerf Tiny for microcontrollers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qcore.inputs import Input
from qcore.judges import CLASSES, Judge
from qcore.judges.signal import Signal
from qcore.models.catalog import BUNDLED_NAMES, MODELS


@dataclass(frozen=True, slots=True)
class Architecture:
    """A structure that is built by name.

    Attributes:
        title: What it is, in a few words.
        input_shape: (channels, height, width) of its images; the shape of the first of `inputs`.
        inputs: What it takes where that is no image; () for one image.
        judge: How its answers are compared.
    """

    title: str
    input_shape: tuple[int, ...]
    inputs: tuple[Input, ...] = ()
    judge: Judge = CLASSES


_MFCC = Input("x", (1, 49, 10))
_SPECTRUM = Input("x", (640,))

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        name: Architecture(entry.title, entry.input_shape, entry.inputs, entry.judge)
        for name, entry in ((name, MODELS[name]) for name in BUNDLED_NAMES)
    }
    | {
        "ds_cnn": Architecture(
            "DS-CNN, keywords in 49 frames of 10 MFCCs (MLPerf Tiny)", _MFCC.shape, (_MFCC,)
        ),
        "tiny_autoencoder": Architecture(
            "Autoencoder, anomalies in 640 numbers (MLPerf Tiny)",
            _SPECTRUM.shape,
            (_SPECTRUM,),
            Signal(measure="auc"),
        ),
        "vww_mobilenet": Architecture(
            "MobileNet v1 0.25, persons in 96x96 images (MLPerf Tiny)", (3, 96, 96)
        ),
        "tiny_resnet8": Architecture("ResNet-8, 32x32 images (MLPerf Tiny)", (3, 32, 32)),
    }
)
"""By the name that `--architecture` takes; `bundled.BUILDERS` builds them."""
