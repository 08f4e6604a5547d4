"""A folder as `save_pretrained` writes it: which of its files are read, and what they say.

Torch-free. `config.json` says what the network is, `model.safetensors` (or several such files with
an index, or `pytorch_model.bin`) holds its weights, and a tokenizer may lie beside them. Code that
lies in such a folder is never run.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcore.errors import DataUnavailable, InvalidConfig, UnsupportedModel

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
SINGLE = ("model.safetensors", "pytorch_model.bin")
"""Files that hold all weights, in the order in which they are looked for."""

INDEX = ".index.json"
"""What follows the name of one of SINGLE where the weights lie in several files."""

BESIDE = (
    TOKENIZER,
    *("tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"),
    *("modules.json", "1_Pooling/config.json"),
)
"""Files that are kept with the weights where they are there."""

MOST_JSON = 64 * 2**20


def read_config(folder: Path) -> dict[str, Any]:
    """What a folder's `config.json` says.

    Raises:
        DataUnavailable: there is no such folder, or no `config.json` in it.
        InvalidConfig: that is no JSON object.
        UnsupportedModel: the network needs code from the folder, is an adapter of another one, or
            has quantized weights; says what to do.
    """
    if not folder.is_dir():
        raise DataUnavailable(f"There is no folder {folder}.")
    if not (folder / CONFIG).is_file():
        if (folder / "adapter_config.json").is_file():
            raise UnsupportedModel(
                f"{folder} holds an adapter (adapter_config.json), no network. Merge it into its "
                "network (merge_and_unload) and save that."
            )
        raise DataUnavailable(
            f"{folder} has no {CONFIG}; give the folder that save_pretrained wrote, with "
            f"{CONFIG} and {SINGLE[0]} in it."
        )
    config = read_json(folder / CONFIG)
    if custom := code_in(config):
        raise UnsupportedModel(
            f"The network in {folder} needs code of its own (auto_map: {custom[:100]}), and code "
            "from a folder is never run. Export it as ONNX or .pt2, or let the operator allow a "
            "module of yours that builds it (own code)."
        )
    if isinstance(config.get("quantization_config"), Mapping):
        method = str(config["quantization_config"].get("quant_method", "unknown"))
        raise UnsupportedModel(
            f"The weights in {folder} are quantized already ({method[:60]}). Give the folder of "
            "the float network."
        )
    return config


def code_in(config: Mapping[str, Any]) -> str:
    """The code of its own that a configuration, or a part of it, asks for; "" for none."""
    mapped = config.get("auto_map")
    if mapped:
        return ", ".join(map(str, mapped.values())) if isinstance(mapped, Mapping) else str(mapped)
    parts = (value for value in config.values() if isinstance(value, Mapping))
    return next(filter(None, map(code_in, parts)), "")


def architecture(config: Mapping[str, Any]) -> str:
    """Name of the class that a configuration was saved from; "" where it does not say."""
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a classifier's outputs in their order, from `id2label`; () where it has none."""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return ()
    names = {str(key): str(value) for key, value in named.items()}
    order = [str(number) for number in range(len(names))]
    return tuple(names[key] for key in order) if set(order) == set(names) else ()


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, and their index first where they are several.

    Raises:
        DataUnavailable: there are none, or some of several are missing.
        InvalidConfig: the index cannot be read, or names files outside the folder.
    """
    for single in SINGLE:
        if (folder / single).is_file():
            return [folder / single]
        index = folder / f"{single}{INDEX}"
        if index.is_file():
            return [index, *_indexed(index)]
    others = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin")
    )
    more = f" It holds {', '.join(others[:5])}: rename that." if others else ""
    raise DataUnavailable(
        f"{folder} has no weights: neither {' nor '.join(SINGLE)}, nor an index of several.{more}"
    )


def _indexed(index: Path) -> list[Path]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, Mapping) or not placed:
        raise InvalidConfig(f"{index} has no weight_map; save the network again.")
    names = sorted(set(map(str, placed.values())))
    for name in names:
        if Path(name).name != name or not name.endswith((".safetensors", ".bin")):
            raise InvalidConfig(
                f"{index} names {name[:100]!r}; weights must lie in the same folder, in "
                ".safetensors or .bin files."
            )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise DataUnavailable(
            f"{index.parent} lacks {', '.join(missing[:5])} of the {len(names)} files of weights "
            f"that {index.name} names; copy the whole folder."
        )
    return [index.parent / name for name in names]


def kept_files(folder: Path) -> list[str]:
    """Names, below the folder, of the files that are copied with a network, in order."""
    found = [CONFIG, *(path.name for path in weight_files(folder))]
    return [*found, *(name for name in BESIDE if (folder / name).is_file())]


def folder_sha256(folder: Path) -> str:
    """64 hex digits of SHA-256 over the names and contents of the kept files."""
    digest = hashlib.sha256()
    for name in kept_files(folder):
        with (folder / name).open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{name}:{content}\n".encode())
    return digest.hexdigest()


def copy_folder(source: Path, place: Path) -> str:
    """Copy a folder's kept files to a new place; returns their `folder_sha256`."""
    for name in kept_files(source):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, place / name)
    return folder_sha256(place)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a folder.

    Raises:
        InvalidConfig: it is none, or too large.
    """
    try:
        if path.stat().st_size > MOST_JSON:
            raise InvalidConfig(f"{path} is too large ({path.stat().st_size / 1e6:,.0f} MB).")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidConfig(f"{path} cannot be read as JSON ({str(error)[:100]}).") from error
    if not isinstance(found, dict):
        raise InvalidConfig(f"{path} holds a {type(found).__name__}, no JSON object.")
    return found
