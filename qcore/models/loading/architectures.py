"""Untrained networks by the name of their architecture: bundled ones, torchvision's, timm's."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from qcore.errors import InvalidParams, UnsupportedModel
from qcore.models.bundled import BUILDERS
from qcore.models.loading.limits import FILE_BYTES
from qcore.models.loading.packages import need

_REFUSED = ("pretrained", "checkpoint", "weight", "path", "dir", "url", "cache", "hub", "file")


def check_kwargs(kwargs: Mapping[str, Any]) -> None:
    """Raise unless further arguments are plain, and none makes a library fetch or read anything.

    Raises:
        InvalidParams: names the argument.
    """
    for key, value in kwargs.items():
        if not key.isidentifier() or any(word in key.lower() for word in _REFUSED):
            raise InvalidParams(
                f"The argument {key[:80]!r} cannot be given: weights come from your file alone."
            )
        if not isinstance(value, (bool, int, float, str)):
            raise InvalidParams(
                f"The argument {key!r} must be a number, a word, true or false; got {value!r}."
            )


def build_architecture(
    source: str, architecture: str, classes: int | None, channels: int, kwargs: Mapping[str, Any]
) -> nn.Module:
    """Return an untrained network in eval mode, its weights drawn with seed 0.

    Args:
        source: "bundled", "torchvision" or "timm".
        architecture: Its name there; of a timm network also NAME.TAG, the tag naming the weights
            that timm knows, whose normalisation then is the network's.
        classes: Number of outputs; None leaves the library's, or the architecture's own.
        channels: Channels of the input; torchvision's take 3.
        kwargs: Further arguments, plain values.

    Raises:
        UnsupportedModel: no such architecture (with the nearest names), too large a one, one
            without a classifier, or arguments it does not take.
        InvalidParams: an argument that cannot be given.
        DataUnavailable: timm is not installed.
    """
    check_kwargs(kwargs)
    options: dict[str, Any] = dict(kwargs)
    if source == "bundled":
        _check(architecture, BUILDERS, "bundled network")
        build: Any = BUILDERS[architecture]
        options |= {"in_channels": channels} | ({} if classes is None else {"classes": classes})
    elif source == "torchvision":
        models = need("torchvision", "to build its networks").models
        _check(architecture, models.list_models(module=models), "torchvision classifier")
        if channels != 3:
            raise UnsupportedModel(
                f"torchvision's {architecture} takes 3 channels, not {channels}; timm's networks "
                "take any number."
            )
        options |= {"weights": None} | ({} if classes is None else {"num_classes": classes})
        if architecture in ("googlenet", "inception_v3"):
            # pretrained weights expect the input transform; the slow start values are not used
            options = {"transform_input": True, "init_weights": False} | options
        build = models.get_model_builder(architecture)
    else:
        timm = need("timm", "to build its networks")
        # what follows the point names weights: with it go their normalisation and classes
        _check(architecture.partition(".")[0], timm.list_models(), "timm network")
        options |= {"pretrained": False, "in_chans": channels}
        options |= {} if classes is None else {"num_classes": classes}

        def build(**given: Any) -> nn.Module:
            return timm.create_model(architecture, **given)

    try:
        _check_size(build, options, architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(**options).eval()
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        raise UnsupportedModel(
            f"{architecture} cannot be built with {options}: {error}. Correct its arguments."
        ) from error
    if getattr(network, "num_classes", None) == 0:
        raise UnsupportedModel(
            f"{architecture} ends in features, without a classifier. Say how many classes your "
            "weights have (--classes), or name the architecture alone."
        )
    return network


def _check(name: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"the nearest are {', '.join(near)}" if near else "check how it is written"
    raise UnsupportedModel(f"There is no {what} named {name[:80]!r}; {hint}.")


def _check_size(build: Any, options: Mapping[str, Any], architecture: str) -> None:
    """Refuse what would not fit before memory is taken; the meta device takes none."""
    try:
        with torch.device("meta"):
            parameters = sum(p.numel() for p in build(**options).parameters())
    except (NotImplementedError, RuntimeError):  # some constructors compute with their weights
        return
    if 4 * parameters > FILE_BYTES:
        raise UnsupportedModel(
            f"{architecture} has {parameters:,} parameters, {4 * parameters / 1e9:.1f} GB in "
            f"float; at most {FILE_BYTES / 1e9:.1f} GB can be loaded."
        )
