"""The smallest networks with attention: a vision transformer and both versions of Swin."""

from functools import cache

import torch
from torch import nn

from qcore.models._torchvision import torchvision
from qcore.network.layers import Found, find_layers

SWIN = torchvision.models.swin_transformer
SIDE, CLASSES = 32, 5


def lively(model: nn.Module) -> nn.Module:
    """With random weights wherever torchvision starts from zeros."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2, generator=generator)
    return model.eval()


def vit() -> nn.Module:
    """Two blocks of two heads on 16 patches; nn.MultiheadAttention."""
    torch.manual_seed(0)
    return lively(torchvision.models.VisionTransformer(SIDE, 8, 2, 2, 16, 24, num_classes=CLASSES))


def swin(**version: object) -> nn.Module:
    """Three blocks in two stages, one of them with shifted windows."""
    torch.manual_seed(0)
    sizes = ([4, 4], 12, [2, 1], [2, 3], [4, 4])
    return lively(SWIN.SwinTransformer(*sizes, num_classes=CLASSES, **version))


def swin_v2() -> nn.Module:
    """The same with cosine attention and positions from a small network."""
    return swin(block=SWIN.SwinTransformerBlockV2, downsample_layer=SWIN.PatchMergingV2)


NETWORKS = {"vit": vit, "swin": swin, "swin_v2": swin_v2}


@cache
def found_in(name: str) -> Found:
    """The layers of one of NETWORKS."""
    return find_layers(NETWORKS[name](), torch.zeros(1, 3, SIDE, SIDE), name)
