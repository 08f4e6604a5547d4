"""Lines of the catalogue for the bundled language model and its texts. Torch-free."""

from pathlib import Path

from qcore.inputs import Input
from qcore.judges.tokens import Tokens
from qcore.models.entries import DataEntry, ModelEntry
from qcore.models.preprocessing import Preprocessing

FOLDER = Path(__file__).parents[1] / "datasets" / "verses"
"""Passages, the tokenizer and its licence."""

TOKENIZER = FOLDER / "tokenizer.json"

IDS = Input("input_ids", (128,), "int64", 2048, 1.0)
MASK = Input("attention_mask", (128,), "int64", 2, 0.0)
INPUTS = (IDS, MASK)
"""What the bundled language model takes: 128 tokens, and which of them count."""

DATA = DataEntry(
    "verses",
    "Verses (King James Bible)",
    None,
    "Passages of up to 128 tokens, in the public domain; on this machine already. Those to search "
    "and to test on are of chapters that the bundled language model was not trained on.",
    inputs=INPUTS,
)

NETWORK = ModelEntry(
    "verse_decoder",
    "Verse decoder (language model, bundled)",
    "bundled",
    IDS.shape,
    IDS.shape[0],
    (DATA.name, "texts", "tensors"),
    Preprocessing(),
    inputs=INPUTS,
    judge=Tokens(mask=MASK.name, ids=IDS.name),
)
