"""The bundled language model: perplexity of uniform bits, and of what a search finds at equal bits.

    OMP_NUM_THREADS=1 python -m benchmarks.decoder            # measure, write results and figure
    OMP_NUM_THREADS=1 python -m benchmarks.decoder --figure   # the figure alone

Weights by GPTQ, activations in float, the head tied to the embedding and under bits as well; its
rows may have scales of groups, as forms propose for tables of ids. Bits are those of the file:
codes, scales (32 bits a channel, 16 a group) and norms in float, over all weights. `portfolio`
searches at the bits of uniform 3 and at `BUDGETS` between, on 128 held-out passages; what it finds
is measured once on the test passages. Perplexity is per token, its ratio to the float network's
paired over the same passages, with a 95 % interval over passages (they are the sample: tokens of
one passage are not independent). Writes benchmarks/results/decoder.json and docs/decoder.svg.
About twelve minutes of one core.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import decoder_figure
from qcore.allocation import FLOAT_BITS, BitAllocation, LayerBits, width_json
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.engine import drive
from qcore.judges.tally import Batch
from qcore.models import verses
from qcore.prepare import Prepared, prepare
from qcore.problem import Problem
from qcore.rules.proposals import TABLE_WIDTHS, TABLES
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec
from qcore.scoring.evaluator import to_batches
from qcore.searches import SEARCHES

RESULTS = Path(__file__).parent / "results" / "decoder.json"
COST = "microbits_per_weight"
WIDTHS, LADDER = (2, 3, 4, 5, 6, 8), (2, 3, 4, 5)
EQUAL = (3,)
"""Uniform widths whose bits with scales are searched at too."""

BUDGETS = (2.5, 3.0)
CLAIM_BITS, CLAIM_PERCENT = 3.0, 3.0
"""Perplexity at so many bits with scales should be at most so much above the float network's."""

SPEC = RunSpec(
    verses.NETWORK.name,
    verses.DATA.name,
    "portfolio",
    {"kinds": ("gradient", "gradient_pairs"), "points": 1, "exchanges": 24},
    weight_bits=WIDTHS,
    calibration_images=512,
    search_images=128,
    rounding="gptq",
    rules=(Rule(TABLES, weights=TABLE_WIDTHS),),
    device="cpu",
)

Losses = np.ndarray
"""(nats summed over its next tokens, their number) of each passage, (n, 2)."""


def losses(prepared: Prepared, test: Sequence[Batch]) -> Losses:
    """Losses of the network as it is set, on the test passages."""
    judge: Any = prepared.evaluator.judge
    rows = []
    for x, labels in test:
        with torch.inference_mode():
            loss = judge.loss(judge.read(prepared.evaluator.model(x), x), labels)
        number = (labels >= 0).sum(1) if labels is not None else torch.ones(len(loss))
        rows.append(torch.stack([loss * number, number.float()], 1))
    return torch.cat(rows).double().numpy()


def ratio(ours: Losses, theirs: Losses) -> dict[str, Any]:
    """How far one perplexity lies above another on the same passages, %, with a 95 % interval.

    The logarithm of the ratio is a mean over tokens; its error is that of a ratio of sums over
    passages.
    """
    nats, counts = ours[:, 0] - theirs[:, 0], ours[:, 1]
    mean = nats.sum() / counts.sum()
    n = len(counts)
    spread = nats - mean * counts
    error = math.sqrt(float((spread**2).sum()) * n / (n - 1)) / counts.sum()
    low, middle, high = (100 * math.expm1(mean + z * error) for z in (-1.96, 0.0, 1.96))
    return {"percent": middle, "interval": [low, high]}


def perplexity(found: Losses) -> float:
    """Perplexity per token."""
    return math.exp(float(found[:, 0].sum() / found[:, 1].sum()))


def search(prepared: Prepared, bits: float) -> BitAllocation:
    """What portfolio finds at so many bits with scales, by the divergence on the search split."""
    problem, chosen = prepared.problem, SEARCHES[SPEC.search]
    limited = Problem(
        problem.model,
        problem.options,
        Budget({COST: bits * 1e6}),
        problem.sensitivity,
        problem.objective,
    )
    params = chosen.params(**SPEC.params)
    found = drive(chosen, limited, params, SPEC.seed, score=prepared.score)
    inside = [point for point in found.points if limited.admits(point.allocation)]
    return min(inside, key=lambda point: point.search.kl).allocation


def measure() -> dict[str, Any]:
    """Every row: the float network, the uniform ladder, and what was found at equal bits."""
    started = time.process_time()
    prepared = prepare(SPEC, on_progress=lambda words: print(words, flush=True))
    evaluator, layers = prepared.evaluator, prepared.model.layers
    test = to_batches(evaluator._test_images, 32, "cpu", evaluator.judge)

    def at(allocation: BitAllocation) -> Losses:
        point = next(prepared.score([allocation]))
        evaluator.state(point)
        return losses(prepared, test)

    in_float = at(BitAllocation.uniform(layers, FLOAT_BITS))
    rows: list[dict[str, Any]] = []
    ladder: dict[float, Losses] = {}

    def add(method: str, allocation: BitAllocation, budget: float) -> None:
        found = at(allocation)
        bits = COSTS[COST].total(prepared.model, allocation) / 1e6
        row = {
            "method": method,
            "budget": budget,
            "bits": bits,
            "perplexity": perplexity(found),
            "above_float": ratio(found, in_float),
            "widths": {name: width_json(bits.weight) for name, bits in allocation.items()},
        }
        if method == "uniform":
            ladder[budget] = found
        elif budget in ladder:
            row["above_uniform"] = ratio(found, ladder[budget])
        rows.append(row)
        print(json.dumps({k: v for k, v in row.items() if k != "widths"}), flush=True)

    for width in LADDER:
        same = BitAllocation({x.name: LayerBits(width) for x in layers})
        add("uniform", same, COSTS[COST].total(prepared.model, same) / 1e6)
    equal = {row["budget"] for row in rows if row["widths"][layers[0].name] in EQUAL}
    for budget in sorted({*BUDGETS, *equal}):
        add(SPEC.search, search(prepared, budget), budget)
    held = next(row for row in rows if row["method"] != "uniform" and row["budget"] == CLAIM_BITS)
    low, high = held["above_float"]["interval"]
    return {
        "network": SPEC.model,
        "float_perplexity": perplexity(in_float),
        "passages": len(in_float),
        "correction": prepared.correction,
        "rows": rows,
        "claim": {
            "bits": CLAIM_BITS,
            "percent": CLAIM_PERCENT,
            "measured": held["above_float"]["percent"],
            "interval": [low, high],
            "verdict": "held"
            if high <= CLAIM_PERCENT
            else "not held"
            if low > CLAIM_PERCENT
            else "undecided",
        },
        "cpu_seconds": time.process_time() - started,
    }


def table(found: Mapping[str, Any]) -> str:
    """The rows as Markdown."""
    lines = ["| bits, with scales | method | perplexity | above float, % |", "|---|---|---|---|"]
    for row in sorted(found["rows"], key=lambda row: row["bits"]):
        low, high = row["above_float"]["interval"]
        lines.append(
            f"| {row['bits']:.2f} | {row['method']} | {row['perplexity']:.2f} | "
            f"{row['above_float']['percent']:.1f} ({low:.1f} to {high:.1f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", action="store_true", help="draw what was measured before")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.figure:
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n")
    found = json.loads(RESULTS.read_text())
    decoder_figure.write(found)
    print(table(found), json.dumps(found["claim"]), sep="\n\n")


if __name__ == "__main__":
    main()
