"""A configuration measured again from nothing but its file: network, images, bits."""

from collections.abc import Mapping
from typing import Any

import torch

from qcore.data import load_data
from qcore.errors import DataUnavailable
from qcore.formats.apply import apply_bits
from qcore.formats.config import BitConfig
from qcore.models.zoo import load_model
from qcore.network.running import contiguous_inputs
from qcore.network.trees import call
from qcore.problem import Scores
from qcore.scoring.evaluator import batch_size_for, choose_device, to_batches
from qcore.scoring.judges import read_judge
from qcore.scoring.tally import tally
from qcore.scoring.targets import fitted_targets


def measure(config: BitConfig) -> Scores:
    """Scores of a configuration on the test images of the data it was measured on.

    Args:
        config: With quantizer state, and with the data's name in its provenance.

    Raises:
        InvalidConfig: it is not for the network that is here.
        DataUnavailable: the images or weights are not here, or are others.
    """
    told: Mapping[str, Any] = config.provenance
    data = load_data(
        str(told["data"]),
        calibration=int(told.get("calibration_images", 1024)),
        search=int(told.get("search_images", 1024)),
        seed=int(told.get("images_seed", 0)),
        model=config.model.name,
    )
    digest = told.get("data_digest")
    if digest is not None and digest != data.digest:
        raise DataUnavailable(
            f"The images of {told['data']} are not those it was measured on (digest "
            f"{data.digest[:12]}, expected {str(digest)[:12]}). Restore them, or measure again."
        )
    network = load_model(config.model.name)
    device = choose_device()
    judge = read_judge(told.get("judge"))
    data = fitted_targets(data, network, judge)
    quantized = apply_bits(network, config).to(device)
    network = network.to(device).eval()
    if not quantized.channels_last:
        network = contiguous_inputs(network)
    size = batch_size_for(data.input_shape, device, data.ids)
    batches = to_batches(data.test, size, device, judge)
    with torch.inference_mode():
        reference = [judge.read(call(network, x), x) for x, _ in batches]
        answers = [judge.read(call(quantized, x), x) for x, _ in batches]
    return tally(judge, batches, answers, reference)
