"""Costs of the user's own: what was measured on a device, read from CSV files. Torch-free.

    <data folder>/costs/NAME.csv

    layer,weight_bits,activation_bits,latency_us
    conv1,8,8,41.5
    conv1,4,8,30

One row for each layer and pair of bit-widths (1 to 16, bf16, fp16; 32 is float). The last column's
name says what it is and its unit: latency or energy, in s, ms, us, ns, cycles, J, mJ, uJ, nJ or pJ.
A file holds the layers of one network; each file becomes a cost under its name. `read_costs` gives
them together with bitdial's own as one value; whoever needs a user's costs is handed it.
"""

import csv
import io
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from qcore.allocation import (
    GROUPED_WIDTHS,
    HALF_WIDTHS,
    LayerBits,
    LayerSpec,
    ModelSpec,
    holds,
    parse_width,
)
from qcore.costs import COSTS
from qcore.costs.formulas import UNPRICED, CostModel
from qcore.costs.interpolation import interpolated, spread
from qcore.data_folder import data_folder
from qcore.errors import Damaged, InvalidBits, InvalidConfig
from qcore.intact import intact, read_text

MOST_BYTES = 8 << 20
COLUMNS = ("layer", "weight_bits", "activation_bits")

UNITS: Mapping[str, tuple[str, int]] = {
    "s": ("ns", 10**9),
    "ms": ("ns", 10**6),
    "us": ("ns", 10**3),
    "ns": ("ns", 1),
    "j": ("pJ", 10**12),
    "mj": ("pJ", 10**9),
    "uj": ("pJ", 10**6),
    "nj": ("pJ", 10**3),
    "pj": ("pJ", 1),
    "cycles": ("cycles", 1),
}
"""Unit of a file to the unit of its cost model, in which values are whole numbers, and a factor."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_VALUE = re.compile(r"(latency|energy)_([a-z]+)")


@dataclass(frozen=True)
class Table:
    """What a file says.

    Attributes:
        name: File name without ".csv"; the cost's name.
        what: "latency" or "energy".
        unit: "ns", "pJ" or "cycles".
        rows: Layer to {bits: value}, whole numbers in the unit.
        warnings: One sentence for each thing that is odd and no mistake.
    """

    name: str
    what: str
    unit: str
    rows: Mapping[str, Mapping[LayerBits, int]]
    warnings: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read a file.

    Raises:
        InvalidConfig: the name, the header or a row is wrong, or two rows disagree; says where.
    """
    name = path.stem
    if not _NAME.fullmatch(name):
        raise InvalidConfig(
            f"{path.name}: the name must be 1 to 40 of a-z, 0-9, '_' and '-'. Rename the file."
        )
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidConfig(f"{path.name} is larger than {MOST_BYTES >> 20} MiB.")
        text = read_text(path, MOST_BYTES)
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, ValueError, csv.Error, MemoryError) as error:
        if isinstance(error, InvalidConfig):
            raise
        raise InvalidConfig(f"{path.name} cannot be read as CSV: {str(error)[:200]}.") from error
    head = [word.strip().lower() for word in lines[0]] if lines else []
    value = _VALUE.fullmatch(head[3]) if len(head) == 4 and tuple(head[:3]) == COLUMNS else None
    if value is None or value[2] not in UNITS:
        raise InvalidConfig(
            f"{path.name}: the first line must be {','.join(COLUMNS)} and then latency_UNIT or "
            f"energy_UNIT, with a unit among {', '.join(UNITS)}; got {','.join(head)[:100]!r}."
        )
    unit, factor = UNITS[value[2]]
    rows: dict[str, dict[LayerBits, int]] = {}
    warnings = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(word.strip() for word in line):
            continue
        layer, bits, price = _row(f"{path.name}, line {number}", line, factor)
        known = rows.setdefault(layer, {}).get(bits)
        if known is not None and known != price:
            raise InvalidConfig(
                f"{path.name}, line {number}: layer {layer!r} at {bits.text} bits stands "
                "there twice with two values. Keep one of the rows."
            )
        if known is not None:
            warnings.append(f"Line {number} repeats an earlier row.")
        rows[layer][bits] = price
    if not rows:
        raise InvalidConfig(f"{path.name} has no row below its first line.")
    return Table(name, value[1], unit, rows, (*warnings, *_falling(rows)))


def _row(where: str, line: list[str], factor: int) -> tuple[str, LayerBits, int]:
    if len(line) != 4:
        raise InvalidConfig(f"{where}: there must be 4 values; got {len(line)}.")
    layer, *numbers = (word.strip() for word in line)
    widths = []
    for what, word in zip(COLUMNS[1:], numbers, strict=False):
        try:
            widths.append(parse_width(word))
        except InvalidBits as error:
            raise InvalidConfig(
                f"{where}: {what} must be 1 to 16, fp16, bf16, or 32 for float; got {word[:20]!r}."
            ) from error
    try:
        value = float(numbers[2])
    except ValueError:
        value = math.nan
    if not layer or not math.isfinite(value) or value < 0 or value * factor >= UNPRICED / 10**4:
        raise InvalidConfig(
            f"{where}: a layer's name and a number from 0 up are needed; got {layer[:40]!r} and "
            f"{numbers[2][:20]!r}."
        )
    return layer, LayerBits(*widths), round(value * factor)


def _falling(rows: Mapping[str, Mapping[LayerBits, int]]) -> list[str]:
    """Say of each layer where more bits take less."""
    sentences = []
    for layer, prices in rows.items():
        for low, cheap in prices.items():
            wider = [
                high for high, price in prices.items() if _stands_in(high, low) and price < cheap
            ]
            if wider:
                sentences.append(f"{layer}: {wider[0].text} bits take less than {low.text}.")
                break
    return sentences


def price_in(table: Table, layer: LayerSpec, bits: LayerBits) -> int:
    """Price a layer: its own row, else the cheapest of those that hold its values, else UNPRICED.

    A width without a row runs as a wider one (`allocation.holds`).
    """
    rows = table.rows.get(layer.name, {})
    if bits in rows:
        return rows[bits]
    wider = [price for row, price in rows.items() if _stands_in(row, bits)]
    return min(wider, default=UNPRICED)


def _stands_in(wide: LayerBits, bits: LayerBits) -> bool:
    return holds(wide.weight, bits.weight) and holds(wide.activation, bits.activation)


def smooth_price_in(table: Table, layer: LayerSpec, weight_bits: Any, activation_bits: Any) -> Any:
    """The same at bits that need not be whole: a line between widths with a row."""
    price, rows = _pricing(table, layer)
    return interpolated(price, rows, weight_bits, activation_bits)


def rounding_in(table: Table, layer: LayerSpec, bits: LayerBits) -> float:
    """How far the line can be from the exact price; 0 at widths with a row."""
    price, rows = _pricing(table, layer)
    return spread(price, rows, bits.weight, bits.activation)


def _pricing(
    table: Table, layer: LayerSpec
) -> tuple[Callable[[int, int], int], list[tuple[int, int]]]:
    pairs = [(bits.weight, bits.activation) for bits in table.rows.get(layer.name, {})]
    # bits that need not be whole are whole numbers': never floats of 16 bits, nor in groups
    rows = [pair for pair in pairs if not set(pair) & {*HALF_WIDTHS, *GROUPED_WIDTHS}]
    return lambda weight, activation: price_in(table, layer, LayerBits(weight, activation)), rows


def refusal_in(table: Table, model: ModelSpec) -> str | None:
    """Say which layers the table and a model do not share; None where it is of this model."""
    names = set(model.names)
    for layers, words in (
        ([name for name in model.names if name not in table.rows], "has no row for"),
        ([name for name in table.rows if name not in names], "is of a network that also has"),
    ):
        if layers:
            more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
            return f"{table.name}.csv {words} {', '.join(n[:80] for n in layers[:3])}{more}"
    return None


def cost_of(table: Table) -> CostModel:
    """Make the cost model of a table."""
    return CostModel(
        table.name,
        f"{table.what.capitalize()} by {table.name}.csv",
        table.unit,
        partial(price_in, table),
        formula=f"sum over layers of the {table.what} that {table.name}.csv lists; a width without "
        "a row counts as the cheapest wider one with a row",
        refuses=partial(refusal_in, table),
        looked_up=True,
        smooth=partial(smooth_price_in, table),
        rounding=partial(rounding_in, table),
    )


@dataclass(frozen=True)
class Costs(Mapping[str, CostModel]):
    """Every cost there is at one moment: bitdial's own, then those of the user's tables.

    Attributes:
        models: Cost name to cost model.
        broken: File name of each table that cannot be used, to why.
        odd: File name of each table in use that is odd, to a sentence on each oddity.
        stamp: Path, time and size of every table: another one means other costs.
    """

    models: Mapping[str, CostModel]
    broken: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stamp: tuple[tuple[Path, int, int], ...] = ()

    def __getitem__(self, name: str) -> CostModel:
        return self.models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)


def read_costs(folder: Path | None = None) -> Costs:
    """The costs there are now; cheap where no table was added, changed or removed since.

    Args:
        folder: Of the tables; None is "costs" in the data folder.
    """
    folder = data_folder() / "costs" if folder is None else folder
    paths = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    return _read(tuple((path, *_stamp(path)) for path in paths))


@lru_cache(maxsize=8)
def _read(stamps: tuple[tuple[Path, int, int], ...]) -> Costs:
    found: dict[str, Table] = {}
    broken: dict[str, str] = {}
    for path, *_ in stamps:
        try:
            with intact(path.name):
                table = read_table(path)
                if path.stem in COSTS:
                    raise InvalidConfig(f"{path.name}: bitdial has a cost of this name; rename it.")
            found[table.name] = table
        except Damaged as error:
            broken[path.name] = str(error)
            logging.getLogger("bitdial").warning("A cost table cannot be used: %s", error)
    return Costs(
        {**COSTS, **{name: cost_of(table) for name, table in found.items()}},
        broken,
        {f"{name}.csv": table.warnings for name, table in found.items() if table.warnings},
        stamps,
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
