"""What is claimed of GPFQ, on the bundled networks and on images that nothing was fitted on."""

import pytest
import torch

from qcore.data import load_data
from qcore.models.zoo import load_model
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel
from qcore.rounding import ROUNDINGS, moments
from qcore.rounding.nearest import nearest_codes, output_error

IMAGES = 64
MANY = 144


@pytest.mark.parametrize("kept", [1.0, moments.MEAN_KEPT], ids=["outputs", "about their mean"])
@pytest.mark.parametrize("name", ["resnet8", pytest.param("resnet20", marks=pytest.mark.slow)])
@torch.no_grad()
def test_output_errors_fall_below_the_nearest_codes_in_layers_of_many_inputs(
    name, kept, monkeypatch
):
    monkeypatch.setattr(moments, "MEAN_KEPT", kept)
    data = load_data("fashion-mnist", calibration=IMAGES, search=IMAGES)
    batches = [next(split.batches(IMAGES))[0] for split in (data.calibration, data.search)]
    network = load_model(name)
    model = QuantizedModel(network, find_layers(network, batches[0], name))
    names = [n for n, layer in model.layers.items() if layer.weight[0].numel() >= MANY]
    assert len(names) >= 6
    fitted, fresh = (moments.second_moments(model, names, [batch]) for batch in batches)
    worse = {}
    for layer in names:
        weights = moments.in_groups(model.layers[layer], model.layers[layer].weight)
        steps = model.nearest_step(layer, 2).view(weights.shape[:2])
        plain = weights - nearest_codes(weights, steps[..., None], 2) * steps[..., None]
        before = output_error(plain, fresh.moments(layer)).sum()
        for rounding in ("gpfq", "gptq"):
            codes, found = ROUNDINGS[rounding](weights, fitted.moments(layer), steps, 2)
            errors = weights - codes * found[..., None]
            after = output_error(errors, fresh.moments(layer)).sum()
            if after >= before:
                worse[layer, rounding] = float(after / before)
    assert not worse
