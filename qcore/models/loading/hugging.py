"""Networks from folders that the library transformers wrote: nothing is fetched, no code is run."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qcore.errors import InvalidConfig, UnsupportedModel
from qcore.inputs import Input
from qcore.judges import Judge
from qcore.models import hugging_folder
from qcore.models.loading.hugging_inputs import has_no_head, proposed_inputs, proposed_judge
from qcore.models.loading.limits import FILE_BYTES, check_size
from qcore.models.loading.packages import need
from qcore.models.loading.weights import read_weights
from qcore.models.preprocessing import Preprocessing

WHAT = "to read Hugging Face folders"

_CHOICES = ("_attn_implementation", "attn_implementation", "_experts_implementation")
"""Settings that can name code to be fetched; bitdial makes its own choice."""

_DEPTHS = (
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers"),
    *("decoder_layers", "num_encoder_layers", "num_decoder_layers"),
)
"""Numbers of layers in a configuration, each of which has some tensors."""

_MOST_NAMED = 5


@dataclass(frozen=True)
class HuggingNetwork:
    """A network that was read from a folder.

    Attributes:
        network: In eval mode, float32; it returns names to tensors.
        architecture: Its class in transformers.
        inputs: What it takes; () for one image.
        input_shape: Of the first input, without the batch.
        judge: What suits its head; None where its outputs have to tell.
        preprocessing: How images are prepared; None for other inputs.
        notes: Sentences on what the reader should know.
    """

    network: nn.Module
    architecture: str
    inputs: tuple[Input, ...]
    input_shape: tuple[int, ...]
    judge: Judge | None
    preprocessing: Preprocessing | None
    notes: tuple[str, ...]


def read_hugging(
    folder: Path,
    length: int | None = None,
    inputs: tuple[Input, ...] = (),
    judge: Judge | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> HuggingNetwork:
    """Read a network with its weights, and propose what it takes and how it is judged.

    Args:
        folder: With `config.json` and the weights.
        length: Positions of a text, or samples of a sound; None takes what is usual.
        inputs: What it takes, where the proposal is not wanted.
        judge: How it is judged, where the proposal is not wanted.
        input_shape: (channels, height, width) where it takes images of another size.

    Raises:
        QcoreError: it cannot be read, or takes what cannot be fed; says why and what to do.
    """
    config = hugging_folder.read_config(folder)
    network, notes = hugging_network(folder, judge)
    taken = proposed_inputs(network, folder, length, input_shape)
    if inputs:
        shape, steps = inputs[0].shape, None
    else:
        inputs, shape, steps = taken.inputs, taken.shape, taken.preprocessing
    return HuggingNetwork(
        network,
        type(network).__name__,
        inputs,
        shape,
        judge or proposed_judge(network, config, inputs, folder),
        steps,
        (*notes, *taken.notes),
    )


def hugging_network(folder: Path, judge: Judge | None = None) -> tuple[nn.Module, list[str]]:
    """The network of a folder, float32, in eval mode, and sentences on its weights.

    Args:
        folder: With `config.json` and the weights.
        judge: How it is judged; a pooler that this judge does not look at is left out.

    Raises:
        QcoreError: transformers is not installed or has no such network, or the weights do not fit.
    """
    document = hugging_folder.read_config(folder)
    with _quiet_and_offline() as transformers:
        config = _configuration(transformers, document, folder)
        kind = _class(transformers, hugging_folder.architecture(document), config, folder)
        state = _state(folder)
        _check_layers(document, len(state), folder)
        try:
            network, seen = kind.from_pretrained(
                None,
                config=config,
                state_dict=state,
                output_loading_info=True,
                dtype=torch.float32,
                attn_implementation="eager",
            )
        except Exception as error:
            # whatever the library raises is about the folder
            why = _words(error)
            if "ignore_mismatched_sizes" in why:
                why = "its weights have other shapes than its config.json says"
            raise InvalidConfig(
                f"{folder} cannot be read as {kind.__name__}: {why}. Were its config.json and "
                "weights saved together, by save_pretrained?"
            ) from error
    network = network.float().eval()
    notes = _fitting(network, seen, folder)
    if _leave_pooler_out(network, judge):
        notes.append(
            f"Its pooler ({type(network).__name__}.pooler) is left out: what is compared does not "
            "pass through it. The judge embedding:output=pooler_output keeps it."
        )
    return network, notes


@contextlib.contextmanager
def _quiet_and_offline() -> Iterator[Any]:
    """The library, for the time of reading: it prints nothing and fetches nothing."""
    transformers = need("transformers", WHAT)
    constants: Any = need("huggingface_hub.constants", WHAT)
    logging = transformers.utils.logging
    level, online = logging.get_verbosity(), constants.HF_HUB_OFFLINE
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        yield transformers
    finally:
        constants.HF_HUB_OFFLINE = online
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _configuration(transformers: Any, document: Mapping[str, Any], folder: Path) -> Any:
    kind = str(document.get("model_type") or "")
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if kind not in known:
        what = f"model_type {kind[:60]!r}" if kind else "no model_type"
        raise UnsupportedModel(
            f"The {hugging_folder.CONFIG} in {folder} has {what}, which transformers "
            f"{transformers.__version__} does not know. Use a release of it that does."
        )
    try:
        config = known[kind].from_dict(_plain(document))
        for setting in ("use_cache", "output_attentions", "output_hidden_states"):
            if getattr(config, setting, False):
                setattr(config, setting, False)
        config.return_dict = True
    except Exception as error:
        # whatever the library raises is about the configuration
        raise InvalidConfig(
            f"The {hugging_folder.CONFIG} in {folder} is none of a {kind[:60]!r}: {_words(error)}."
        ) from error
    return config


def _check_layers(document: Mapping[str, Any], tensors: int, folder: Path) -> None:
    """Raise where a configuration asks for more layers than there are tensors, before any is built.

    Raises:
        InvalidConfig: says which number it is.
    """
    for key, value in document.items():
        if isinstance(value, Mapping):
            _check_layers(value, tensors, folder)
        elif key in _DEPTHS and type(value) is int and not 0 <= value <= tensors:
            raise InvalidConfig(
                f"The {hugging_folder.CONFIG} in {folder} says {key} {value:,}, and its weights "
                f"hold {tensors:,} tensors. Were they saved together?"
            )


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what would fetch anything: other code, other weights."""
    plain: dict[str, Any] = {}
    for key, value in document.items():
        if key in _CHOICES:
            continue
        plain[key] = _plain(value) if isinstance(value, Mapping) else value
        if key == "use_pretrained_backbone":
            plain[key] = False
    return plain


def _class(transformers: Any, name: str, config: Any, folder: Path) -> Any:
    """The class of a network; without a name its kind's network without a head."""
    if not name:
        mapped = transformers.models.auto.modeling_auto.MODEL_MAPPING
        if type(config) not in mapped:
            raise UnsupportedModel(
                f"The {hugging_folder.CONFIG} in {folder} names no architecture. Add one, as "
                '"architectures": ["BertModel"].'
            )
        return mapped[type(config)]
    try:
        kind = getattr(transformers, name, None) if name.isidentifier() else None
    except ImportError as error:
        raise UnsupportedModel(
            f"{name} needs what is not installed: {_words(error)}. Install it and restart."
        ) from error
    base = transformers.PreTrainedModel
    if not (isinstance(kind, type) and issubclass(kind, base) and kind is not base):
        raise UnsupportedModel(
            f"transformers {transformers.__version__} has no network {name[:80]!r}, which the "
            f"{hugging_folder.CONFIG} in {folder} names. Use a release of it that has."
        )
    wanted = getattr(kind, "config_class", None)
    if wanted is not None and not isinstance(config, wanted):
        raise InvalidConfig(
            f"The {hugging_folder.CONFIG} in {folder} names {name}, which is not of its model_type "
            f"{config.model_type!r}."
        )
    return kind


def _state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's weight files; nothing in the files is run."""
    files = hugging_folder.weight_files(folder)
    files = [path for path in files if not path.name.endswith(hugging_folder.INDEX)]
    for path in files:
        check_size(path)
    total = sum(path.stat().st_size for path in files)
    if total > FILE_BYTES:
        raise InvalidConfig(
            f"The weights in {folder} hold {total / 1e6:,.0f} MB; at most {FILE_BYTES / 1e6:,.0f} "
            "MB are read."
        )
    state: dict[str, Tensor] = {}
    for path in files:
        state |= read_weights(path)
    return state


def _fitting(network: nn.Module, seen: Mapping[str, Any], folder: Path) -> list[str]:
    """Sentences on tensors without a use; raises where the network lacks some."""
    missing = sorted(map(str, seen.get("missing_keys", ())))
    if any(name.startswith("pooler.") for name in missing) and hasattr(network, "pooler"):
        network.pooler = None
        missing = [name for name in missing if not name.startswith("pooler.")]
    other = [str(each[0] if isinstance(each, tuple) else each) for each in seen["mismatched_keys"]]
    if missing or other:
        what = "lack" if missing else "have other shapes for"
        names = missing or sorted(other)
        raise InvalidConfig(
            f"The weights in {folder} {what} {_listed(names)} of {type(network).__name__}. They "
            "would be drawn by chance: name the architecture that was saved in config.json."
        )
    unused = sorted(map(str, seen.get("unexpected_keys", ())))
    if not unused:
        return []
    return [f"{folder.name} also holds {_listed(unused)}, which {type(network).__name__} lacks."]


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _leave_pooler_out(network: nn.Module, judge: Judge | None) -> bool:
    """Take a pooler away whose output nobody looks at: its bits would cost nothing."""
    if not has_no_head(network) or getattr(network, "pooler", None) is None:
        return False
    if judge is not None and _looks_at_pooler(judge):
        return False
    network.pooler = None
    return True


def _looks_at_pooler(judge: Judge) -> bool:
    parts = getattr(judge, "parts", ())
    return judge.output in ("pooler_output", "1") or any(map(_looks_at_pooler, parts))


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
