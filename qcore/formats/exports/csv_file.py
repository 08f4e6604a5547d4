"""One row a layer, for spreadsheets and other tools."""

import csv
import io

from qcore.allocation import width_json
from qcore.costs import COSTS
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export

HEADER = ("layer", "kind", "weights", "macs", "weight_bits", "activation_bits")
LAYER_COSTS = ("weight_bytes", "bit_ops")


def render(config: BitConfig) -> bytes:
    """The table in UTF-8: layer, kind, weights, macs, both bit-widths, weight_bytes, bit_ops.

    Layer names that a spreadsheet would take for a formula are written with a leading apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*HEADER, *LAYER_COSTS))
    for layer in config.model.layers:
        bits = config.allocation[layer.name]
        name = f"'{layer.name}" if layer.name[:1] in "=+-@" else layer.name
        widths = (width_json(bits.weight), width_json(bits.activation))
        prices = [COSTS[cost].layer_cost(layer, bits) for cost in LAYER_COSTS]
        writer.writerow((name, layer.kind, layer.weights, layer.macs, *widths, *prices))
    return text.getvalue().encode()


EXPORT = Export("csv", "Table (CSV)", ".bits.csv", "text/csv", render, runs_in="any table")
