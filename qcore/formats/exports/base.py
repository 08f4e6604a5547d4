"""The record every export is listed by in EXPORTS. Torch-free.

Most formats are written from the configuration alone: `render`. Formats that contain the network
(`needs_model`) name a torch-side function in `render_model` instead, which `write_with_model`
imports when it is called, so that pages can list every format without importing torch.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qcore.errors import ExportRefused
from qcore.formats.config import BitConfig


def carries_all(config: BitConfig) -> str | None:
    """No configuration is refused."""
    return None


def nothing_to_tell(config: BitConfig) -> Mapping[str, Any]:
    """A format that stores every configuration as it is."""
    return {}


def needs_state(config: BitConfig) -> str | None:
    """The reason to refuse a configuration that holds bits alone, without scales."""
    if config.state:
        return None
    return "it holds bits alone, without the scales of a measurement. Measure it first."


@dataclass(frozen=True, slots=True)
class Export:
    """One file format.

    Attributes:
        name: Key in EXPORTS.
        title: What the button says.
        suffix: End of the file name, with its dots.
        mime: Media type of the download.
        render: Configuration -> bytes of the file; None for formats that need the model. Raises
            ExportRefused when the format cannot carry the configuration.
        needs_model: True when the file contains the network itself, so that writing it needs torch
            and the float model; pages then ask a subprocess, `python -m store export`.
        carries: Configuration -> None, or the reason why the format cannot carry it.
        runs_in: What reads the file, in a few words.
        note: One sentence for users: how the file is used, and what it does not do.
        render_model: "module:function" of a format that needs the model; the function takes
            (config, float model, sample) and gives `Rendered`.
        report: Configuration that it carries -> what `Rendered.report` says of a file written from
            the configuration alone: "widened", and sizes that are the format's own.
    """

    name: str
    title: str
    suffix: str
    mime: str
    render: Callable[[BitConfig], bytes] | None = None
    needs_model: bool = False
    carries: Callable[[BitConfig], str | None] = carries_all
    note: str = ""
    runs_in: str = "bitdial"
    render_model: str = ""
    report: Callable[[BitConfig], Mapping[str, Any]] = nothing_to_tell


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file and what running it showed.

    Attributes:
        content: Bytes of the file.
        report: Plain JSON values: "format", "versions" (tool -> version), "bytes", and where the
            file was run: "max_abs_diff" (largest difference of an output), "argmax_agreement"
            (0..1) for classes, else what its judge says, "n" (samples), "widened" (layer -> what
            is stored wider than its bits, in words).
    """

    content: bytes
    report: Mapping[str, Any] = field(default_factory=dict)


def write(export: Export, config: BitConfig) -> bytes:
    """The file of a format that needs only the configuration.

    Raises:
        ExportRefused: the format cannot carry this configuration, or needs the model.
    """
    refuse_unless_carried(export, config)
    if export.render is None:
        raise ExportRefused(
            f"{export.title} contains the network itself, so writing it needs the float model: use "
            f"python -m store export RUN --format {export.name}."
        )
    return export.render(config)


def write_with_model(export: Export, config: BitConfig, model: Any, sample: Any) -> Rendered:
    """The file of a format that needs the model, run on the sample where its toolchain is here.

    Args:
        export: One of EXPORTS; one without needs_model is written from the configuration.
        config: The configuration with its quantizer state.
        model: The float network (torch.nn.Module) whose weights were measured.
        sample: What the network takes, (n, ...): the file is run on it for the report.

    Raises:
        ExportRefused: a width, a layer or an operator that the format cannot carry; says which.
        InvalidConfig: the model is not the one that was measured.
    """
    refuse_unless_carried(export, config)
    if not export.render_model:
        content = write(export, config)
        return Rendered(content, {"format": export.name, **export.report(config)})
    module, _, function = export.render_model.partition(":")
    found = getattr(importlib.import_module(module), function)(config, model, sample)
    if not isinstance(found, Rendered):
        raise TypeError(f"{export.render_model} must give Rendered, not {type(found).__name__}")
    return found


def refuse_unless_carried(export: Export, config: BitConfig) -> None:
    """Raise ExportRefused with the reason where a format cannot carry a configuration."""
    reason = export.carries(config)
    if reason is not None:
        raise ExportRefused(f"{export.title} cannot carry this configuration: {reason}")
