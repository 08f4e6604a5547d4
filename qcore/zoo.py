"""Builds the models of the catalogue and gives them their weights.

Weights are only ever read with `weights_only=True`: a weight file is data, never code. Bundled
networks carry theirs; torchvision's are fetched once into torch's own cache; a file of your own
replaces either.
"""

import difflib
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qcore.catalog import MODELS, WEIGHTS
from qcore.errors import DataUnavailable, InvalidConfig, UnsupportedModel
from qcore.layers import find_layers
from qcore.networks import MobileNet, ResNet

BUNDLED: dict[str, Callable[..., nn.Module]] = {
    "resnet8": partial(ResNet, 1),
    "resnet20": partial(ResNet, 3),
    "mobilenet": MobileNet,
}
"""Builders of the bundled networks; they take `classes` and `in_channels`."""

_COUNTER = "num_batches_tracked"
# torchvision's densenet files still carry the names of an older release ("norm.1" for "norm1")
_DENSENET_KEY = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


def build_model(
    name: str, *, classes: int | None = None, in_channels: int | None = None, seed: int = 0
) -> nn.Module:
    """Return an untrained model in eval mode; same seed, same weights.

    Args:
        name: Key of MODELS.
        classes: Number of outputs; None is the catalogue's.
        in_channels: Channels of the input, for bundled networks only; None is 1.
        seed: Seed of the initial weights; the global random state is left as it was.

    Raises:
        UnsupportedModel: no model has this name, or in_channels for a torchvision model.
    """
    _check_name(name)
    entry = MODELS[name]
    classes = entry.classes if classes is None else classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if entry.source == "bundled":
            return BUNDLED[name](classes=classes, in_channels=in_channels or 1).eval()
        if in_channels is not None:
            raise UnsupportedModel(f"{name} takes 3-channel images only; leave in_channels out.")
        return _torchvision_model(name, classes).eval()


def load_model(name: str, weights: Path | None = None) -> nn.Module:
    """Return a model with its trained weights, float32, in eval mode.

    Args:
        name: Key of MODELS.
        weights: A state-dict file for this architecture; its number of classes (and of input
            channels, for a bundled network) is read from its shapes. None takes the shipped
            weights, or torchvision's default ones, fetched once.

    Raises:
        UnsupportedModel: no model has this name.
        DataUnavailable: the weights are not here and cannot be fetched.
        InvalidConfig: the file is no plain state dict, or its names or shapes do not fit.
    """
    _check_name(name)
    if weights is None and MODELS[name].source == "torchvision":
        state, source = _fetch(name), f"torchvision's weights of {name}"
    else:
        path = Path(weights) if weights is not None else WEIGHTS / f"{name}.pt"
        state, source = _read_state(path, name), str(path)
    model = build_model(name)
    other = _other_sizes(model.state_dict(), state, name)
    if other:
        model = build_model(name, **other)
    _fill(model, state, name, source)
    return model.eval()


def write_spec(name: str) -> Path:
    """Write the layers of a bundled network beside its weights, for pages that run no torch.

    Raises:
        DataUnavailable: its weights are missing.
    """
    shape = MODELS[name].input_shape
    spec = find_layers(load_model(name), torch.zeros(1, *shape), name).spec
    path = WEIGHTS / f"{name}.spec.json"
    path.write_text(json.dumps(spec.to_json(), indent=1) + "\n", encoding="utf-8")
    return path


def _check_name(name: str) -> None:
    if name in MODELS:
        return
    near = difflib.get_close_matches(name, MODELS, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "the list is qcore.catalog.MODELS."
    raise UnsupportedModel(f"There is no model named {name!r}; {hint}")


def _torchvision_model(name: str, classes: int) -> nn.Module:
    from qcore._torchvision import torchvision

    options: dict[str, Any] = {"num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        # their pretrained weights expect the input transform; their slow start values are not used
        options |= {"transform_input": True, "init_weights": False}
    return torchvision.models.get_model(name, weights=None, **options)


def _fetch(name: str) -> dict[str, Tensor]:
    from qcore._torchvision import torchvision

    url = torchvision.models.get_model_weights(name).DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[-1]
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), _hash_in(path.name), progress=False)
        except (OSError, RuntimeError) as error:
            raise DataUnavailable(
                f"The weights of {name} could not be fetched from {url} ({error}). Put the file at "
                f"{path}, or give a weight file of your own."
            ) from error
    state = _read_state(path, name)
    if name.startswith("densenet"):
        state = {_new_densenet_key(key): value for key, value in state.items()}
    return state


def _hash_in(file: str) -> str | None:
    found = re.search(r"-([0-9a-f]{8,})\.", file)
    return found.group(1) if found else None


def _new_densenet_key(key: str) -> str:
    found = _DENSENET_KEY.match(key)
    return found.group(1) + found.group(2) if found else key


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    """Read {name: tensor} from a file; anything but plain tensors is refused."""
    if not path.is_file():
        raise DataUnavailable(
            f"{path}, the weights of {name}, is not there. Restore the file or give another one; "
            "qcore.zoo.build_model makes the untrained network."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        LookupError,
        zipfile.BadZipFile,
    ) as error:
        raise InvalidConfig(
            f"{path} cannot be read as plain weights ({_first_line(error)}). Save them with "
            "torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InvalidConfig(
            f"{path} is no state dict (a mapping from names to tensors). Save it with "
            "torch.save(model.state_dict(), path)."
        )
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _other_sizes(
    built: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str
) -> dict[str, int]:
    """Classes and input channels of a state dict where they are not the catalogue's."""
    entry, sizes = MODELS[name], {}
    outputs, channels = set(), set()
    for key in built.keys() & state.keys():
        ours, theirs = built[key].shape, state[key].shape
        if ours == theirs or len(ours) != len(theirs):
            continue
        if ours[0] == entry.classes and ours[1:] == theirs[1:]:
            outputs.add(theirs[0])
        elif ours[0] == theirs[0] and len(ours) == 4 and ours[1] == entry.input_shape[0]:
            channels.add(theirs[1])
    if len(outputs) == 1:
        sizes["classes"] = int(outputs.pop())
    if len(channels) == 1 and entry.source == "bundled":
        sizes["in_channels"] = int(channels.pop())
    return sizes


def _fill(model: nn.Module, state: Mapping[str, Tensor], name: str, source: str) -> None:
    """Load a state dict; every entry but batch counters must be there, and no other."""
    wanted = {k: v for k, v in model.state_dict().items() if not k.endswith(_COUNTER)}
    given = {k: v for k, v in state.items() if not k.endswith(_COUNTER)}
    problems = []
    if missing := [key for key in wanted if key not in given]:
        problems.append(f"missing: {_listed(missing, list(given))}")
    if unexpected := [key for key in given if key not in wanted]:
        problems.append(f"unexpected: {_listed(unexpected, list(wanted))}")
    problems += [
        f"{key} has shape {tuple(given[key].shape)}, not {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ][:5]
    if problems:
        raise InvalidConfig(
            f"{source} does not fit {name}; {'; '.join(problems)}. Use weights saved from this "
            "architecture."
        )
    floats = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    broken = [k for k, v in floats.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise InvalidConfig(f"{source} holds NaN or infinity in {', '.join(broken[:5])}.")
    model.load_state_dict(floats, strict=False)


def _listed(keys: list[str], others: list[str]) -> str:
    shown = []
    for key in keys[:5]:
        near = difflib.get_close_matches(key, others, n=1, cutoff=0.7)
        shown.append(f"{key} (nearest: {near[0]})" if near else key)
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return ", ".join(shown) + more


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
