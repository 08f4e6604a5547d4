"""What the launch form begins with: what is usual, or what a link asks to search again elsewhere.

A link carries "like", the number of a run whose bits, pins and images are taken over with one seed,
"near", the limits to begin with: "weight_bytes:40000,bit_ops:9000000", and "rules", the text of a
file of rules, which take the place of those of that run.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import streamlit as st

from pages.shared.rules.entries import entries_of, text_of
from qcore.allocation import FLOAT_BITS
from qcore.costs.formulas import CostModel
from qcore.errors import RunNotFound
from qcore.run_spec import RunSpec
from qcore.searches.usual_widths import TOKEN_WIDTHS
from store import Store, run

USUAL_ACTIVATIONS = (4, 8)


@dataclass(frozen=True)
class Prefill:
    """What the form begins with.

    Attributes:
        spec: The run it takes after, or one with the usual settings.
        seeds: Seeds, as the form writes them.
        near: Cost name to limit, in the cost's unit.
        key: Ends the keys of the form's inputs, so that another link begins anew.
        rules: Text of rules that a link brings; "" takes those of `spec`.
        tokens: Whether the usual widths are those of networks with tokens.
    """

    spec: RunSpec
    seeds: str = "0, 1, 2"
    near: Mapping[str, float] = field(default_factory=dict)
    key: str = ""
    rules: str = ""
    tokens: bool = False

    @property
    def rules_text(self) -> str:
        """The rules to begin with, as the text of a file."""
        return self.rules or text_of(entries_of(self.spec.rules))

    @property
    def rules_key(self) -> str:
        """Ends the key of the rules' editor, so that other rules begin anew."""
        return f"{self.key}-{zlib.crc32(self.rules.encode()):08x}" if self.rules else self.key

    @property
    def widths_key(self) -> str:
        """Ends the key of the weights' widths, so that another kind of network begins anew."""
        return f"{self.key}-tokens" if self.tokens else self.key

    @property
    def inputs(self) -> bool:
        """Whether activations are quantized too."""
        return any(bits != FLOAT_BITS for bits in self.spec.activation_bits)

    @property
    def activation_bits(self) -> tuple[int, ...]:
        """Activation widths to begin with where activations are quantized."""
        return self.spec.activation_bits if self.inputs else USUAL_ACTIVATIONS


def prefill(
    store: Store, model: str, costs: Mapping[str, CostModel], tokens: bool = False
) -> Prefill:
    """Read the page's address; a run of another model, or one that is gone, is passed over.

    Args:
        store: The database.
        model: The model that is searched.
        costs: The costs that limits may name.
        tokens: Whether it has tokens, and so other widths that are usual.
    """
    near = near_of(st.query_params.get("near", ""), costs)
    rules = st.query_params.get("rules", "")
    words = st.query_params.get("like", "")
    usual = RunSpec(model, "", "portfolio")
    if tokens:
        usual = replace(usual, weight_bits=TOKEN_WIDTHS)
    # operations are few only where both factors are
    if "bit_ops" in near:
        usual = replace(usual, activation_bits=USUAL_ACTIVATIONS)
    if not (words.isdecimal() and len(words) < 18):
        return Prefill(usual, near=near, rules=rules, tokens=tokens)
    try:
        found = run(store, int(words)).spec
    except RunNotFound:
        return Prefill(usual, near=near, rules=rules, tokens=tokens)
    if found.model != model:
        return Prefill(usual, near=near, rules=rules, tokens=tokens)
    return Prefill(found, str(found.seed), near, f"-{words}", rules)


def near_of(words: str, costs: Mapping[str, CostModel]) -> dict[str, float]:
    """Limits that a link carries, "weight_bytes:40000,bit_ops:9000000"; nonsense is left out."""
    found = {}
    for part in words.split(","):
        cost, _, value = part.partition(":")
        if cost in costs and value.isdecimal() and int(value) > 0:
            found[cost] = float(value)
    return found
