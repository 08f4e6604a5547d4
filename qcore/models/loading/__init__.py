"""Reads networks that bitdial did not ship: weights, ONNX files, and code where it is allowed.

Files are data: nothing in them is run. The two exceptions, a factory of the user's and a `.pt2`
file, need the operator's leave in BITDIAL_ALLOW_CODE. Imports torch.
"""

from qcore.models.loading.network import Loaded, build_card, load_card, load_network
from qcore.models.loading.weights import fill, read_weights

__all__ = ["Loaded", "build_card", "fill", "load_card", "load_network", "read_weights"]
