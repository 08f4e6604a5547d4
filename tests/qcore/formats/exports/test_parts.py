"""A network taken apart runs beside the one that was measured, whatever its layers compute."""

import torch
from torch import nn

from qcore.formats.exports.torch_side.parts import take_apart
from tests.qcore.formats.exports.nets import images, measured, mixed


class Padded(nn.Conv2d):
    """A convolution that pads its input itself, as those of EfficientNet-Lite do."""

    def forward(self, x):
        x = nn.functional.pad(x, (0, 1, 0, 1))
        return nn.functional.conv2d(x, self.weight, self.bias, self.stride)


def test_layers_with_a_forward_pass_of_their_own_do_not_disturb_the_reference():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        model = nn.Sequential(Padded(1, 4, 3, stride=2), *head).eval()
    case = measured(model, "padded", images(4), mixed)
    taken = take_apart(case.config, case.model)
    with torch.no_grad():
        taken.network(case.sample)
        assert torch.equal(taken.reference(case.sample), case.wanted)
