"""A configuration measured again from nothing but its file: network, images, bits."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qcore.data import Data, load_data
from qcore.errors import DataUnavailable
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig
from qcore.judges import Judge, read_judge
from qcore.judges.sample_words import samples_word
from qcore.judges.tally import tally
from qcore.models.zoo import load_model
from qcore.network.running import contiguous_inputs
from qcore.problem import Scores
from qcore.scoring.evaluator import batch_size_for, choose_device, to_batches
from qcore.scoring.targets import fitted_targets
from qcore.trees import call

Opening = Callable[[], AbstractContextManager[None]]
"""Gives what is entered while files of a person's are opened."""


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """What a configuration's file names, loaded.

    Attributes:
        data: The samples it was measured on, drawn as they were.
        network: The float network, on the device.
        quantized: The network as the configuration says, on the device.
        judge: How their answers are compared.
        device: Where both are.
    """

    data: Data
    network: nn.Module
    quantized: nn.Module
    judge: Judge
    device: str


def rebuild(config: BitConfig, opening: Opening = nullcontext) -> Rebuilt:
    """Load the data and the network of a configuration, and quantize it as it says.

    Args:
        config: With quantizer state, and with the data's name in its provenance.
        opening: Gives what is entered while its files are opened, to bound it.

    Raises:
        InvalidConfig: it is not for the network that is here.
        DataUnavailable: the images or weights are not here, or are others.
    """
    told: Mapping[str, Any] = config.provenance
    with opening():
        data = load_data(
            str(told["data"]),
            calibration=int(told.get("calibration_images", 1024)),
            search=int(told.get("search_images", 1024)),
            seed=int(told.get("images_seed", 0)),
            model=config.model.name,
        )
        network = load_model(config.model.name)
    digest = told.get("data_digest")
    if digest is not None and digest != data.digest:
        raise DataUnavailable(
            f"The {samples_word(told['data'])} of {told['data']} are not those it was "
            f"measured on (digest {data.digest[:12]}, expected {str(digest)[:12]}). Restore "
            "them, or measure again."
        )
    device = choose_device()
    judge = read_judge(told.get("judge"))
    data = fitted_targets(data, network, judge)
    quantized = apply_bits(network, config).to(device)
    network = network.to(device).eval()
    if not quantized.channels_last:
        network = contiguous_inputs(network)
    return Rebuilt(data, network, quantized, judge, device)


def measure(config: BitConfig, opening: Opening = nullcontext) -> Scores:
    """Scores of a configuration on the test images of the data it was measured on.

    Args:
        config: With quantizer state, and with the data's name in its provenance.
        opening: Gives what is entered while its files are opened, to bound it.

    Raises:
        InvalidConfig: it is not for the network that is here.
        DataUnavailable: the images or weights are not here, or are others.
    """
    found = rebuild(config, opening)
    judge, device = found.judge, found.device
    size = batch_size_for(found.data.input_shape, device, found.data.ids)
    batches = to_batches(found.data.test, size, device, judge)
    with torch.inference_mode():
        reference = [judge.read(call(found.network, x), x) for x, _ in batches]
        answers = [judge.read(call(found.quantized, x), x) for x, _ in batches]
    return tally(judge, batches, answers, reference)
