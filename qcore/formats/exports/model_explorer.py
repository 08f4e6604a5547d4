"""An overlay for Google's Model Explorer: every weight coloured by its bits.

Format of ai-edge-model-explorer 0.1.34, node_data_builder.py: {graph: {"results": {node: {"value",
"bgColor", "textColor"}}}}. Nodes are found by the names torch.export gives parameters
("p_conv1_weight") and by the parameters' own ("conv1.weight"); names of neither are passed over.
"""

import json
import re

from qcore.allocation import (
    BFLOAT16,
    FLOAT16,
    FLOAT_BITS,
    width_json,
)
from qcore.formats.config import BitConfig
from qcore.formats.exports.base import Export
from qcore.widths import without_groups

GRAPH = "graph"
COLOURS = {
    **{1: "#440154", 2: "#46327e", 3: "#365c8d", 4: "#277f8e"},
    **{5: "#1fa187", 6: "#4ac16d", 7: "#a0da39", 8: "#fde725"},
    **{9: "#fdea3c", 10: "#feec54", 11: "#feee6b", 12: "#fef182"},
    **{13: "#fef49a", 14: "#fef6b1", 15: "#fff8c9", 16: "#fffbe0"},
    **{BFLOAT16: "#e6d3ff", FLOAT16: "#bfe3ff", FLOAT_BITS: "#ffffff"},
}
"""The colours of the dashboard's bit-widths."""
DARK_DIGITS_FROM = 5


def render(config: BitConfig) -> bytes:
    """The overlay as JSON; drop it on an open graph in Model Explorer."""
    results = {}
    for name in config.model.names:
        bits = config.allocation[name].weight
        colour = without_groups(bits)
        shown = {
            "value": width_json(bits),
            "bgColor": COLOURS[colour],
            "textColor": "#000000" if colour >= DARK_DIGITS_FROM else "#ffffff",
        }
        results[f"p_{re.sub('[^a-zA-Z0-9]', '_', name)}_weight".lower()] = shown
        results[f"{name}.weight"] = shown
    document = {GRAPH: {"name": "Weight bits (bitdial)", "results": results}}
    return (json.dumps(document, indent=1) + "\n").encode()


EXPORT = Export(
    "model_explorer",
    "Model Explorer overlay",
    ".model_explorer.json",
    "application/json",
    render,
    runs_in="Google Model Explorer",
    note="Colours the weights of the network's graph, opened in Model Explorer from an exported "
    "program (.pt2), by their bits. Weights only. Checked with its Python classes, not its page.",
)
