"""The widths of weights that a search usually chooses among, by the kind of network. Torch-free."""

import re
from collections.abc import Iterable

from qcore.allocation import LayerSpec, ModelSpec
from qcore.judges import Judge
from qcore.judges.embedding import Embedding
from qcore.judges.parts import Parts
from qcore.judges.tokens import Tokens

USUAL_WIDTHS = (2, 3, 4, 8)

TOKEN_WIDTHS = (2, 3, 4, 5, 6, 8)
"""For transformers: from 3.5 mean bits up, finer widths pay there."""

TOKEN_JUDGES = (Tokens.name, Embedding.name)

_ATTENTION = re.compile(r"(^|[._])((self|cross|multi_?head)_?)?(attn|attention|mha)\d*([._]|$)")


def has_attention(layers: Iterable[LayerSpec]) -> bool:
    """Whether some linear layers are those of attention, as their names tell."""
    return any(layer.kind == "linear" and _ATTENTION.search(layer.name) for layer in layers)


def has_tokens(judge: Judge, model: ModelSpec | None) -> bool:
    """Whether a network reads or answers tokens or attends to parts, as transformers do.

    Args:
        judge: How its answers are compared.
        model: Its layers, where they are known.
    """
    judges = judge.parts if isinstance(judge, Parts) else (judge,)
    if any(each.name in TOKEN_JUDGES for each in judges):
        return True
    if model is None:
        return False
    tables = any(layer.kind.endswith("embedding") for layer in model.layers)
    return tables or has_attention(model.layers)


def usual_widths(judge: Judge, model: ModelSpec | None) -> tuple[int, ...]:
    """Widths of weights that are searched where nobody says otherwise; arguments as above."""
    return TOKEN_WIDTHS if has_tokens(judge, model) else USUAL_WIDTHS
