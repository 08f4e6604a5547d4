"""Networks of public packages whose own code cannot be imported as it is, or have no file.

The folder of the unpacked packages is named by the environment variable FIELD_PACKAGES.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn


def demosaick() -> nn.Module:
    """Demosaicnet's network for Bayer mosaics, without weights.

    Raises:
        FileNotFoundError: the package is not unpacked there.
    """
    folder = Path(os.environ["FIELD_PACKAGES"])
    (path,) = folder.glob("demosaicnet*/demosaicnet/modules.py")
    # setuptools no longer has what it asks for the place of its weights
    stand_in = ModuleType("pkg_resources")
    stand_in.resource_filename = lambda package, name: name  # type: ignore[attr-defined]
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stand_in
    try:
        spec = importlib.util.spec_from_file_location("demosaicnet_modules", path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("pkg_resources")
        if before is not None:
            sys.modules["pkg_resources"] = before
    network: nn.Module = module.BayerDemosaick(pretrained=False)
    return network


def encoder_as_onnx(folder: Path, file: Path) -> Path:
    """Write a Hugging Face folder's text encoder as most such files are written: TorchScript."""
    importlib.import_module("qcore.models._torchvision")  # transformers imports torchvision
    transformers: Any = importlib.import_module("transformers")
    encoder: Any = transformers.AutoModel.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()

    class Hidden(nn.Module):
        """The encoder, with one tensor as its output."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> Any:
            found = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=kinds)
            return found.last_hidden_state

    ids = torch.randint(1, 1000, (2, 16))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "sequence"} for name in [*names, "last_hidden_state"]}
    torch.onnx.export(
        Hidden(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), str(file),
        input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes,
        opset_version=14, dynamo=False,
    )  # fmt: skip
    return file
