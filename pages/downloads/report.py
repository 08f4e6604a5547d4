"""One page to keep or to send: what was chosen, what it does, where it comes from. Pure.

Everything is inside the file: pictures are inline SVG, styles are here, and a policy in its head
keeps any browser from fetching anything. Every text is escaped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd

from pages.downloads import report_figures
from pages.plots.difference import diff_totals
from pages.shared import frames
from pages.shared.columns import (
    ACTIVATION_BITS,
    LOSSES,
    SEARCH_N,
    SPLITS,
    TEST_N,
    TEST_SCORE,
    TRAINED,
    WEIGHT_BITS,
    column_of,
)
from pages.shared.judged import Words, words_of_config
from pages.shared.rules.words import LEFT, kept_words, left_rows, rules_rows, told_rules
from pages.shared.text import activations_text, bits_text, cost_text, exact_cost_text
from qcore import __version__
from qcore.allocation import BitAllocation
from qcore.costs import COSTS, costs_of, mean_weight_bits
from qcore.costs.smaller import smaller_text
from qcore.errors import QcoreError
from qcore.formats.config import BitConfig
from qcore.problem import Scores
from qcore.quantization_card import card_of_config, rows

MOST_ROWS = 300
"""Layers listed one by one; all of them are in the CSV."""
NAME_LENGTH = 80

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 940px; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; }
th, td { padding: 0.25rem 0.7rem; text-align: left; border-bottom: 1px solid #8888; }
td { overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; overflow-wrap: normal; }
.wide td:first-child { min-width: 9rem; }
.wide { overflow-x: auto; }
.note { opacity: 0.75; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report(
    config: BitConfig,
    name: str,
    *,
    note: str = "",
    points: pd.DataFrame | None = None,
    check: str = "",
) -> bytes:
    """The page as bytes of HTML, well below 500 KB also for a thousand layers.

    Args:
        config: The configuration.
        name: What the user calls it.
        note: The user's words about it.
        points: `points_frame` of what else was measured with the same data; draws the front.
        check: What verifying it found, in words; "" where that was not done.
    """
    model, allocation = config.model, config.allocation
    bits = max(1, min(8, round(mean_weight_bits(model, allocation))))
    even = BitAllocation.uniform(model.layers, bits, _usual_activation(allocation))
    label = f"{bits} bits everywhere"
    sections = [
        f"<h1>{escape(name)}</h1>",
        _paragraph(note),
        _summary(config, check),
        _heading("Bits of every layer"),
        report_figures.bits_picture(model, [("this", allocation), (f"{bits} bits", even)]),
        _heading("Where the bytes are"),
        report_figures.area_picture(model, allocation),
        *_front(config, points),
        _heading(f"Difference from {label}"),
        report_figures.change_picture(model, even, allocation, label),
        _against(config, even, label),
        _heading("Costs"),
        _costs(config),
        _heading("Layers"),
        _layers(config),
        _heading("How it is quantized"),
        table(("What", "How"), rows(card_of_config(config))),
        *_rules(config),
        _heading("Where it comes from"),
        _provenance(config),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body>"
    )
    return (head + "\n".join(part for part in sections if part) + "</body></html>\n").encode(
        "utf-8", "replace"
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()
) -> str:
    """An HTML table of escaped values; `numbers` are the columns set flush right."""

    def line(cells: Sequence[object], tag: str) -> str:
        written = [
            f"<{tag}{' class=n' if at in numbers else ''}>{escape(str(cell))}</{tag}>"
            for at, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(written)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>{line(columns, "th")}{body}</table></div>'


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>" if text else ""


def _usual_activation(allocation: BitAllocation) -> int:
    widths = sorted(bits.activation for bits in allocation.values())
    return widths[len(widths) // 2]


def _summary(config: BitConfig, check: str) -> str:
    model, said = config.model, words_of_config(config)
    size = COSTS["weight_bytes"].total(model, config.allocation)
    rows = [
        ("Network", f"{model.name}, {len(model.layers)} layers"),
        ("Mean weight bits", f"{mean_weight_bits(model, config.allocation):.2f}"),
        (
            "Weights",
            f"{cost_text(COSTS['weight_bytes'], size)}, "
            f"{smaller_text(COSTS['weight_bytes'], model, size)}",
        ),
        *_scores("Measured on the test split", config.test, said),
        *_scores("The float network there", config.float_test, said),
        *_scores("Measured on the search split", config.search, said),
        *([("Judged by", said.said)] if said.said else []),
        *([("Verified", check)] if check else []),
    ]
    if config.test is None and config.search is None:
        rows.append(("Measured", "not yet: this is bits alone"))
    return table(("What", "Value"), rows)


def _scores(label: str, scores: Scores | None, said: Words) -> list[tuple[str, str]]:
    if scores is None:
        return []
    words = replace(said, labelled=scores.accuracy is not None)
    return [(label, f"{words.name} {words.scores(scores)}, 95 % interval in brackets")]


def _front(config: BitConfig, points: pd.DataFrame | None) -> list[str]:
    if points is None or points.empty:
        return []
    cost, here, said = COSTS["weight_bytes"], None, words_of_config(config)
    if config.search is not None:
        value = float(cost.total(config.model, config.allocation))
        here = (value, said.factor * config.search.headline)
    what = f"Measured on the search split, {said.symbol}"
    words = (
        "Lines are each method's front: nothing is achievable between its points. The ring is this "
        "configuration. Points were chosen on the search split only."
    )
    return [
        _heading("Accuracy against size" if said.usual else f"{said.title} against size"),
        report_figures.front_picture(points, here, cost, what),
        _paragraph(words, "note"),
        _picks(config, points),
    ]


def _picks(config: BitConfig, points: pd.DataFrame) -> str:
    """What each method has within this configuration's size, by what its search minimised.

    Not its most accurate point: of many noisy figures the highest is mostly luck.
    """
    price, said = COSTS["weight_bytes"], words_of_config(config)
    size = float(price.total(config.model, config.allocation))
    rows = []
    for row in frames.picks(points, {price.name: size}).to_dict("records"):
        split, loss = _loss(row)
        rows.append(
            (
                f"{row['method']}{', trained' if row[TRAINED] else ''}",
                loss,
                split,
                _score(row, split, said),
                cost_text(price, row[column_of(price)]),
                smaller_text(price, config.model, row[column_of(price)]),
                f"{row[WEIGHT_BITS]:.2f}",
                activations_text(row[ACTIVATION_BITS]),
            )
        )
    if not rows:
        return ""
    head = (
        "Method",
        f"Loss against float, {said.lost}",
        "Split",
        "Accuracy" if said.usual else said.title,
        "Weights",
        "Against float and 8 bits",
        "Mean weight bits",
        "Activations, mean bits",
    )
    words = (
        f"Each method's best point of at most {cost_text(price, size)}, by what its search "
        "minimised on the search split. Losses are paired with the float network on the same "
        f"{said.samples}, with 95 % intervals; those of the search split, which chose the points, "
        "are slightly optimistic."
    )
    return table(head, rows, (4, 6, 7)) + _paragraph(words, "note")


def _score(row: Mapping[Any, Any], split: str, said: Words) -> str:
    score, low, high = (row[column] for column in SPLITS[split])
    return f"{said.value(score)} ({low:.1f} to {high:.1f}, n={int(row[COUNTS[split]]):,})"


COUNTS = {"test split": TEST_N, "search split": SEARCH_N}


def _loss(row: Mapping[Any, Any]) -> tuple[str, str]:
    """(split, loss with its interval) of a point, on the test split where it was tested."""
    split = "search split" if pd.isna(row[TEST_SCORE]) else "test split"
    loss, low, high = (row[column] for column in LOSSES[split])
    return split, "not known" if pd.isna(loss) else f"{loss:.2f} ({low:.2f} to {high:.2f})"


def _against(config: BitConfig, before: BitAllocation, label: str) -> str:
    totals = diff_totals(config.model, before, config.allocation, config.costs)
    rows = [
        (cost.title, cost_text(cost, old), cost_text(cost, new), _change(old, new))
        for cost, (old, new) in ((config.costs[name], both) for name, both in totals.items())
    ]
    return table(("Cost", label, "This", "Change"), rows, (1, 2, 3))


def _change(old: float, new: float) -> str:
    return f"{100 * (new / old - 1):+.1f} %" if old else ""


def _costs(config: BitConfig) -> str:
    rows = [
        (
            cost.title,
            exact_cost_text(cost, value),
            smaller_text(cost, config.model, value),
            cost.formula,
        )
        for cost, value in (
            (config.costs[name], value)
            for name, value in costs_of(config.model, config.allocation, config.costs).items()
        )
    ]
    head = ("Cost", "Value", "Against float and 8 bits", "How it is counted")
    return table(head, rows, (1,))


def _layers(config: BitConfig) -> str:
    listed = frames.layers_frame(config.allocation, config.model)
    rows = [
        [_short(str(value)) if at == 0 else _plain(value) for at, value in enumerate(row)]
        for row in listed.head(MOST_ROWS).itertuples(index=False)
    ]
    left = len(listed) - MOST_ROWS
    more = f"{left:,} more layers are not listed here; the CSV file has them all."
    return table(tuple(listed.columns), rows, range(2, listed.shape[1])) + _paragraph(
        more if left > 0 else "", "note"
    )


def _rules(config: BitConfig) -> list[str]:
    """What the device allows, and what that left each layer; nothing without rules."""
    try:
        rules, resolved = told_rules(config.provenance, config.model)
    except QcoreError as error:
        return [_heading("Rules"), _paragraph(f"The rules in this file cannot be read: {error}")]
    if not rules:
        return []
    listed = rules_rows(rules, resolved)
    if resolved is None:
        head = ("For the layers", "Rule")
        return [_heading("Rules"), table(head, [row[:2] for row in listed])]
    here = [
        (_short(row[0]), *row[1:], bits_text(bits.weight), bits_text(bits.activation))
        for row in left_rows(resolved)[:MOST_ROWS]
        for bits in [config.allocation[row[0]]]
    ]
    words = f"What they left each layer, and what it has. {kept_words(resolved, config.allocation)}"
    return [
        _heading("Rules"),
        table(("For the layers", "Rule", "Which are"), listed),
        _paragraph(words),
        table((*LEFT, "Weight bits", "Activation bits"), here),
    ]


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _provenance(config: BitConfig) -> str:
    told: Mapping[str, Any] = config.provenance
    rows = [(key, _value(value)) for key, value in told.items()]
    rows += [
        ("weights of the network, SHA-256", config.model.digest),
        ("allocation", config.allocation.digest),
        ("left in float, parameters", f"{sum(config.model.left_in_float.values()):,}"),
        ("report written by", f"bitdial {__version__}"),
    ]
    return table(("What", "Value"), rows)


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 500 else f"{text[:499]}…"
