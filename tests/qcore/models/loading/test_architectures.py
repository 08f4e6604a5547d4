"""Architectures of timm: a tag names weights, and their normalisation and classes come with it."""

import pytest

from qcore.add_network import usual_preprocessing
from qcore.errors import UnsupportedModel
from qcore.models.loading.architectures import build_architecture
from qcore.models.loading.packages import need

SHAPE = (3, 224, 224)


def mean_of(architecture):
    network = build_architecture("timm", architecture, None, 3, {})
    return usual_preprocessing("timm", architecture, network, SHAPE).mean


def test_a_tag_brings_the_normalisation_of_its_weights():
    timm = need("timm", "to compare")
    for name in ("mobilenetv3_large_100.ra_in1k", "mobilenetv3_large_100.miil_in21k_ft_in1k"):
        assert mean_of(name) == timm.get_pretrained_cfg(name).mean
    assert mean_of("mobilenetv3_large_100") != mean_of("mobilenetv3_large_100.miil_in21k_ft_in1k")


def test_a_tag_without_a_classifier_asks_for_the_classes():
    with pytest.raises(UnsupportedModel, match=r"ends in features.*--classes"):
        build_architecture("timm", "vit_small_patch16_224.dino", None, 3, {})
    with pytest.raises(UnsupportedModel, match="Invalid pretrained tag"):
        build_architecture("timm", "mobilenetv3_large_100.nowhere", None, 3, {})
    with pytest.raises(UnsupportedModel, match="nearest are mobilenetv3_large_100"):
        build_architecture("timm", "mobilenetv3_large_10", None, 3, {})
