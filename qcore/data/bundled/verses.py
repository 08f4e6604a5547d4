"""Passages of the King James Bible, in the tokens of the bundled language model.

The text of 1611 is in the public domain. A passage is a run of whole verses of one chapter that
fits into 128 tokens. Passages to search on and to test on are of 15 % of the chapters, which
neither the network nor its tokenizer has seen; those to calibrate on are of chapters that they were
trained on. `python -m benchmarks.networks.train_decoder` wrote them, as numbers of tokens, so that
no tokenizer is needed to read them; one lies beside them for texts of one's own.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcore.data.samples import Samples
from qcore.data.splits import Data, assemble, draw
from qcore.errors import DataUnavailable, InvalidData
from qcore.inputs import Input
from qcore.models.verses import FOLDER, IDS, INPUTS, MASK

PARTS = ("calibration", "search", "test")
TOKENS = FOLDER / "tokens.npz"
PAD = int(IDS.pad or 0)


def verse_data(
    name: str,
    inputs: tuple[Input, ...],
    counts: tuple[int, int],
    seed: int,
    training: bool,
) -> Data:
    """Draw the splits; the test split is always the same.

    Args:
        name: The data name.
        inputs: What the network takes; () where none is named.
        counts: Passages to calibrate on and to search on.
        seed: Which are drawn.
        training: Also give the passages to calibrate on that are left over.

    Raises:
        InvalidData: the network takes something else.
        InvalidParams: more passages are asked for than there are.
        DataUnavailable: their file is missing.
    """
    if inputs not in ((), INPUTS):
        raise InvalidData(
            f"This network takes {'; '.join(each.words for each in inputs)}, and {name} gives "
            f"{'; '.join(each.words for each in INPUTS)}, tokens of the bundled language "
            "model. Use texts:/path with your network's own tokenizer."
        )
    calibration, search, test = (_samples(part) for part in PARTS)
    chosen = [
        draw(len(calibration), counts[0], 0, seed, name, "passages")[0],
        draw(len(search), 0, counts[1], seed, name, "passages")[1],
        torch.arange(len(test)),
    ]
    parts = (calibration, search, test)
    splits = [part.at(index) for part, index in zip(parts, chosen, strict=True)]
    data = assemble(name, (), splits, chosen)
    if not training:
        return data
    left = torch.ones(len(calibration), dtype=torch.bool)
    left[chosen[0]] = False
    if not left.any():
        return data
    return replace(data, training=calibration.at(left.nonzero().flatten()))


def as_columns(ids: Tensor) -> dict[str, Tensor]:
    """Padded token numbers int64 (n, positions) with the mask of what counts."""
    return {IDS.name: ids, MASK.name: (ids != PAD).long()}


@lru_cache(maxsize=len(PARTS))
def _samples(part: str) -> Samples:
    return Samples(as_columns(_tokens(TOKENS, part)), INPUTS)


def _tokens(path: Path, part: str) -> Tensor:
    if not path.is_file():
        raise DataUnavailable(
            f"{path} is missing; restore it from the repository, or write it with "
            "python -m benchmarks.networks.train_decoder."
        )
    with np.load(path) as found:
        return torch.from_numpy(found[part].astype(np.int64))
