"""What a network of a Hugging Face folder takes, and which judge suits its head: proposals."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from qcore.errors import InvalidConfig, InvalidParams, UnsupportedModel
from qcore.inputs import Input
from qcore.judges import Judge
from qcore.judges.classes import Classes
from qcore.judges.embedding import Embedding
from qcore.judges.map import Map
from qcore.judges.tokens import Tokens
from qcore.models import hugging_folder
from qcore.models.preprocessing import Preprocessing

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
WRITTEN, WRITTEN_MASK = "decoder_input_ids", "decoder_attention_mask"
"""Of a network that reads one text and writes another: what of the other one is there already."""

_WRITES = ("ForConditionalGeneration", "MTModel", "EncoderDecoderModel")
"""Ends of the classes that do so, and say at each place what comes next."""

LENGTH = 128
"""Positions of a text where nobody says how many, and the network takes as many."""

SECOND = 16_000
"""Samples of a sound where nobody says how many: one second at 16 kHz."""

SIDE = 224
PROCESSOR = "preprocessor_config.json"
POOLING = "1_Pooling/config.json"


@dataclass(frozen=True)
class Taken:
    """What a network takes.

    Attributes:
        inputs: Named inputs; () for one image.
        shape: Of the first, without the batch.
        preprocessing: How images are prepared; None for other inputs.
        notes: Sentences on what the reader should know.
    """

    inputs: tuple[Input, ...]
    shape: tuple[int, ...]
    preprocessing: Preprocessing | None = None
    notes: tuple[str, ...] = ()


def proposed_inputs(
    network: nn.Module, folder: Path, length: int | None, shape: tuple[int, ...] | None = None
) -> Taken:
    """What a network takes, told from its forward pass and its configuration.

    Args:
        network: As transformers built it.
        folder: Where it was read from.
        length: Positions of a text, or samples of a sound; None takes what is usual.
        shape: (channels, height, width) of images; None is as the folder says.

    Raises:
        UnsupportedModel: it takes several kinds at once, or nothing that is known.
        InvalidParams: a text is longer than its positions.
    """
    parameters = inspect.signature(network.forward).parameters
    config: Any = network.config
    kind = type(network).__name__
    found = [name for name in (IDS, "pixel_values", "input_values") if name in parameters]
    main = str(getattr(network, "main_input_name", "") or "")
    two = bool(getattr(config, "is_encoder_decoder", False))
    writes = found == [IDS] and WRITTEN in parameters and _writes(network)
    if len(found) > 1 or (two and not writes):
        why = "reads one text and writes another" if len(found) < 2 else " and ".join(found)
        raise UnsupportedModel(
            f"{kind} takes more than a text, a picture or a sound ({why}). Use its encoder or its "
            "decoder alone, or wrap it in a module and add that as own code."
        )
    if found == [IDS]:
        inputs, notes = _text(network, parameters, length)
        if two:
            more, said = _written(network, parameters, inputs[0])
            inputs, notes = (*inputs, *more), (*notes, *said)
        return Taken(inputs, inputs[0].shape, None, (*notes, *_further_steps(folder)))
    if found == ["pixel_values"]:
        steps, notes = _pictures(config, folder, shape)
        return Taken((), steps.input_shape, steps, notes)
    if found == ["input_values"]:
        sound = Input("input_values", (_positive(length or SECOND),), pad=0.0)
        return Taken((sound,), sound.shape)
    raise UnsupportedModel(
        f"{kind} takes {main or ', '.join(parameters)}, for which nothing is proposed. Say what it "
        "takes, as --input input_features:float32:80x3000."
    )


def _text(
    network: nn.Module, parameters: Mapping[str, Any], length: int | None
) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    config = _text_config(network)
    words = _whole(config, "vocab_size")
    if words is None:
        raise InvalidConfig("config.json has no vocab_size; add it: the number of token ids.")
    most = _positions(network, config)
    if length is not None and most is not None and length > most:
        raise InvalidParams(
            f"{type(network).__name__} knows {most:,} positions; got a length of {length:,}."
        )
    size = _positive(length if length is not None else min(LENGTH, most or LENGTH))
    pad = _whole(config, "pad_token_id")
    if pad is None and type(network).__name__.endswith("ForSequenceClassification"):
        raise InvalidConfig(
            f"config.json has no pad_token_id, by which {type(network).__name__} finds where a "
            "text ends; add it: the id that texts are padded with."
        )
    fill = float(pad) if pad is not None and 0 <= pad < words else 0.0
    inputs = [Input(IDS, (size,), "int64", words, fill)]
    if MASK in parameters:
        inputs.append(Input(MASK, (size,), "int64", 2, 0.0))
    types = _whole(config, "type_vocab_size")
    if TYPES in parameters and types is not None and types > 1:
        inputs.append(Input(TYPES, (size,), "int64", types, 0.0, True))
    if length is not None:
        return tuple(inputs), ()
    room = f" of {most:,} it knows" if most is not None else ""
    note = f"Texts are read up to {size:,} positions{room}; another length can be given."
    return tuple(inputs), (note,)


def _writes(network: nn.Module) -> bool:
    """Whether a network of two texts gives the second one's tokens, or its hidden states."""
    return has_no_head(network) or type(network).__name__.endswith(_WRITES)


def _written(
    network: nn.Module, parameters: Mapping[str, Any], read: Input
) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """The inputs of the text that is written; as long as the one that is read."""
    config: Any = network.config
    own = getattr(config, "decoder", None)
    words = _whole(own, "vocab_size") or _whole(config, "decoder_vocab_size") or read.high
    pad = _whole(own, "pad_token_id") if own is not None else None
    fill = float(pad) if pad is not None and 0 <= pad < (words or 0) else read.pad
    inputs = [Input(WRITTEN, read.shape, "int64", words, fill)]
    if WRITTEN_MASK in parameters:
        inputs.append(Input(WRITTEN_MASK, read.shape, "int64", 2, 0.0))
    note = (
        f"It reads one text ({IDS}) and writes another ({WRITTEN}): at each place of that the "
        "token behind it is predicted."
    )
    return tuple(inputs), (note,)


def _text_config(network: nn.Module) -> Any:
    config: Any = network.config
    found = getattr(config, "get_text_config", lambda: config)()
    return config if found is None else found


def _positions(network: nn.Module, config: Any) -> int | None:
    """Most positions of a text; None where there is no limit."""
    named = ("max_position_embeddings", "n_positions", "max_seq_len")
    most = next((n for n in (_whole(config, name) for name in named) if n and n > 0), None)
    for path, module in network.named_modules():
        # RoBERTa and its kin count positions from behind the padding id
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - first
    return most


def _positive(length: int) -> int:
    if length < 1:
        raise InvalidParams(f"A length is at least 1; got {length}.")
    return length


def _whole(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _pictures(
    config: Any, folder: Path, shape: tuple[int, ...] | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    said: Mapping[str, Any] = {}
    if (folder / PROCESSOR).is_file():
        said = hugging_folder.read_json(folder / PROCESSOR)
    channels = _whole(config, "num_channels") or 3
    own = getattr(config, "image_size", None)
    sides = _sides(own) or _sides(said.get("crop_size")) or _sides(said.get("size")) or (SIDE, SIDE)
    if shape is not None:
        channels, sides = int(shape[0]), (int(shape[1]), int(shape[2]))
    mean, std = (_numbers(said.get(name), channels) for name in ("image_mean", "image_std"))
    notes = []
    if mean is None or std is None or not said.get("do_normalize", True):
        mean, std = (0.0,), (1.0,)
        if said.get("do_normalize", True):
            notes.append(
                f"{folder.name} does not say how images were normalised ({PROCESSOR}): they are "
                "taken as 0 to 1. Give mean and deviation where it was trained with others."
            )
    way: Literal["bicubic", "bilinear"] = "bicubic" if said.get("resample") == 3 else "bilinear"
    resize = said.get("size")
    shorter = resize.get("shortest_edge") if isinstance(resize, Mapping) else None
    if not (isinstance(shorter, int) and shorter >= min(sides) and said.get("do_center_crop")):
        shorter = None
    return Preprocessing(channels, *sides, shorter, way, mean, std), tuple(notes)


def _sides(value: Any) -> tuple[int, int] | None:
    """(height, width) of a number, a pair, or names to numbers."""
    if isinstance(value, Mapping):
        side = value.get("shortest_edge")
        value = (value.get("height", side), value.get("width", side))
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        height, width = value
        if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
            return height, width
    return None


def _numbers(value: Any, channels: int) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not all(isinstance(v, int | float) for v in value):
        return None
    return tuple(map(float, value)) if len(value) in (1, channels) else None


def proposed_judge(
    network: nn.Module, config: Mapping[str, Any], inputs: tuple[Input, ...], folder: Path
) -> Judge | None:
    """The judge that suits a head; None where the outputs have to tell.

    Args:
        network: As transformers built it.
        config: As `config.json` says.
        inputs: What it takes.
        folder: Where sentence-transformers says how vectors are pooled.
    """
    kind = type(network).__name__
    names = [each.name for each in inputs]
    if WRITTEN in names:
        counts = WRITTEN_MASK if WRITTEN_MASK in names else ""
        if kind.endswith(_WRITES):
            return Tokens(output="logits", mask=counts, ids=WRITTEN)
        return Embedding(output="last_hidden_state", mask=counts)
    mask = MASK if MASK in names else ""
    if kind.endswith("ForSequenceClassification"):
        if config.get("problem_type") == "multi_label_classification":
            return Map(output="logits", binary=True)
        return None if _regresses(config) else Classes(output="logits")
    if kind.endswith(("ForTokenClassification", "ForMaskedLM")) and IDS in names:
        return Tokens(output="logits", mask=mask)
    if kind.endswith(("ForCausalLM", "LMHeadModel")) and IDS in names:
        return Tokens(output="logits", mask=mask, ids=IDS)
    if has_no_head(network):
        return Embedding(output="last_hidden_state", mask=mask, pool=_pooling(folder))
    return None


def has_no_head(network: nn.Module) -> bool:
    """True for a network that ends with its hidden states."""
    return getattr(network, "base_model", None) is network


def _regresses(config: Mapping[str, Any]) -> bool:
    labels = config.get("id2label")
    return config.get("problem_type") == "regression" or (
        isinstance(labels, Mapping) and len(labels) == 1
    )


def _further_steps(folder: Path) -> list[str]:
    """A sentence where sentence-transformers puts weights behind the network."""
    places = [path.parent.name for path in sorted(folder.glob("*_Dense/config.json"))]
    if not places:
        return []
    return [
        f"The steps behind the network ({', '.join(places)}) are not read: vectors are compared "
        "before them."
    ]


def _pooling(folder: Path) -> str:
    """How sentence-transformers pools: "first" where it takes the first position's vector."""
    if not (folder / POOLING).is_file():
        return "mean"
    first = hugging_folder.read_json(folder / POOLING).get("pooling_mode_cls_token")
    return "first" if first is True else "mean"
