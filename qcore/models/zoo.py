"""Builds the models of the catalogue and gives them their weights.

Weights are only ever read with `weights_only=True`: a weight file is data, never code. Bundled
networks carry theirs; torchvision's are fetched once into torch's own cache; a file of your own
replaces either. The user's own networks are built by `loading` from their cards.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qcore.errors import DataUnavailable, UnsupportedModel
from qcore.example_inputs import example_inputs
from qcore.models.bundled import BUNDLED
from qcore.models.catalog import MODELS, WEIGHTS, read_models
from qcore.models.entries import ModelEntry
from qcore.models.loading import build_card, fill, load_card, read_weights
from qcore.models.loading.weights import other_sizes
from qcore.network.kept_wiring import keep_wiring
from qcore.network.layers import find_layers

__all__ = ["BUNDLED", "build_model", "load_model", "write_spec"]

# torchvision's densenet files still carry the names of an older release ("norm.1" for "norm1")
_DENSENET_KEY = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


def build_model(
    name: str, *, classes: int | None = None, in_channels: int | None = None, seed: int = 0
) -> nn.Module:
    """Return an untrained model in eval mode; same seed, same weights.

    Args:
        name: Of a bundled, torchvision's or one of the user's own networks.
        classes: Number of outputs; None is the catalogue's.
        in_channels: Channels of the input, for bundled networks only; None is 1.
        seed: Seed of the initial weights; the global random state is left as it was.

    Raises:
        UnsupportedModel: no model has this name, or in_channels for a torchvision model.
    """
    entry = _entry(name)
    if entry.card is not None:
        if classes not in (None, entry.classes) or in_channels not in (None, entry.input_shape[0]):
            raise UnsupportedModel(f"{name} is as its card says; leave its sizes out.")
        return build_card(entry.card)
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
        name: Of a bundled, torchvision's or one of the user's own networks.
        weights: A state-dict file for this architecture; its number of classes (and of input
            channels, for a bundled network) is read from its shapes. None takes the shipped
            weights, or torchvision's default ones, fetched once.

    Raises:
        UnsupportedModel: no model has this name.
        DataUnavailable: the weights are not here and cannot be fetched.
        InvalidConfig: the file is no plain state dict, or its names or shapes do not fit.
    """
    entry = _entry(name)
    card = entry.card
    if card is not None:
        return _own(name, weights) if weights is not None else load_card(card)
    if weights is None and entry.source == "torchvision":
        state, source = _fetch(name), f"torchvision's weights of {name}"
    else:
        path = Path(weights) if weights is not None else WEIGHTS / f"{name}.pt"
        state, source = _read_state(path, name), str(path)
    model = build_model(name)
    other = other_sizes(model.state_dict(), state, entry.classes, entry.input_shape[0])
    if entry.source != "bundled":
        other.pop("in_channels", None)
    if other:
        model = build_model(name, **other)
    fill(model, state, name, source)
    return model.eval()


def _own(name: str, weights: Path) -> nn.Module:
    """A network of the user's with other weights than its card's."""
    model = build_model(name)
    fill(model, read_weights(Path(weights)), name, str(weights))
    return model.float().eval()


def write_spec(name: str) -> Path:
    """Write the layers of a bundled network beside its weights, for pages that run no torch.

    Its wiring is kept there too, for processes that need not trace it again.

    Raises:
        DataUnavailable: its weights are missing.
    """
    entry = MODELS[name]
    example = example_inputs(entry.inputs, 1) if entry.inputs else _image(entry)
    model = load_model(name)
    spec = find_layers(model, example, name, entry.inputs).spec
    keep_wiring(name, model, example, spec.names)
    path = WEIGHTS / f"{name}.spec.json"
    path.write_text(json.dumps(spec.to_json(), indent=1) + "\n", encoding="utf-8")
    return path


def _image(entry: ModelEntry) -> Tensor:
    return torch.zeros(1, *entry.input_shape)


def _entry(name: str) -> ModelEntry:
    models = read_models()
    if name in models:
        return models[name]
    near = difflib.get_close_matches(name, models, n=3)
    hint = (
        f"did you mean {', '.join(near)}?" if near else "the list is qcore.models.catalog.MODELS."
    )
    raise UnsupportedModel(f"There is no model named {name!r}; {hint}")


def _torchvision_model(name: str, classes: int) -> nn.Module:
    from qcore.models._torchvision import torchvision

    options: dict[str, Any] = {"num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        # their pretrained weights expect the input transform; their slow start values are not used
        options |= {"transform_input": True, "init_weights": False}
    return torchvision.models.get_model(name, weights=None, **options)


def _fetch(name: str) -> dict[str, Tensor]:
    from qcore.models._torchvision import torchvision

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
            "qcore.models.zoo.build_model makes the untrained network."
        )
    return read_weights(path)
