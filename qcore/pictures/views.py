"""What is kept of both networks' answers to a batch of samples, judge by judge.

VIEWS maps a judge's name to a function that gives named arrays (n, ...). A judge without a view is
shown by its divergence alone.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from qcore.judges.base import Judge
from qcore.pictures.layout import form_of, laid_out, planes
from qcore.trees import Tree

MOST_CLASSES = 10
NEIGHBOURS = 5

Arrays = dict[str, np.ndarray]
View = Callable[[Any, Any, Any, Tree, Tensor | None], Arrays]


def classes_view(judge: Any, floats: Any, quantized: Any, x: Tree, y: Tensor | None) -> Arrays:
    """Class numbers "classes" (n, m) and their probabilities "float" and "quantized" (n, m).

    All classes in their order where there are ten at most; else the ten likeliest of either
    network, likeliest first.
    """
    wanted, seen = (_array(judge.read(each, x).exp()) for each in (floats, quantized))
    count = wanted.shape[1]
    order = np.broadcast_to(np.arange(count), wanted.shape)
    if count > MOST_CLASSES:
        order = np.argsort(-np.maximum(wanted, seen), axis=1, kind="stable")[:, :MOST_CLASSES]
    return {
        "classes": order.astype(np.int32),
        "float": np.take_along_axis(wanted, order, 1),
        "quantized": np.take_along_axis(seen, order, 1),
    }


def tokens_view(judge: Any, floats: Any, quantized: Any, x: Tree, y: Tensor | None) -> Arrays:
    """Per position: likeliest tokens and their probabilities, divergence in nats, and if it counts.

    "float" and "quantized" int32, "float_p" and "quantized_p" float32, "divergence" float32 and
    "counts" bool, each (n, positions).
    """
    wanted, seen = judge.read(floats, x), judge.read(quantized, x)
    aims, logs = wanted["logs"], seen["logs"]
    found: Arrays = {
        "divergence": _array((aims.exp() * (aims - logs)).sum(2)),
        "counts": _array(wanted["weights"]) > 0,
    }
    for name, each in (("float", aims), ("quantized", logs)):
        top = each.max(2)
        found[name] = _array(top.indices).astype(np.int32)
        found[f"{name}_p"] = _array(top.values.exp())
    return found


def map_view(judge: Any, floats: Any, quantized: Any, x: Tree, y: Tensor | None) -> Arrays:
    """Maps "float" and "quantized", their "divergence" in nats, and "true" where there are labels.

    Each (n, planes, height, width): the probability of yes for yes-or-no maps, else the likeliest
    class's number.
    """
    shape = judge.chosen(floats).shape[1 if judge.binary else 2 :]
    wanted, seen = judge.read(floats, x), judge.read(quantized, x)
    found: Arrays = {}
    for name, logs in (("float", wanted), ("quantized", seen)):
        places = _array(logs[:, 1].exp()) if judge.binary else _array(logs.argmax(1))
        kept = places if judge.binary else places.astype(np.int32)
        found[name] = planes(kept.reshape(len(kept), *shape))
    kl = _array((wanted.exp() * (wanted - seen)).sum(1))
    found["divergence"] = planes(kl.reshape(len(kl), *shape))
    if y is not None and y[0].numel() == kl.shape[1]:
        found["true"] = planes(_array(y).reshape(len(kl), *shape))
    return found


def signal_view(judge: Any, floats: Any, quantized: Any, x: Tree, y: Tensor | None) -> Arrays:
    """Signals "float", "quantized", and "true" where there is one, in the form of `signal_form`."""
    wanted, seen = (_array(judge.chosen(each)) for each in (floats, quantized))
    form = form_of(wanted.shape[1:])
    found = {"float": laid_out(wanted, form), "quantized": laid_out(seen, form)}
    if y is not None and wanted[0].size > 1 and y[0].numel() == wanted[0].size:
        found["true"] = laid_out(_array(y.float()).reshape(wanted.shape), form)
    return found


def signal_form(judge: Judge, outputs: Any) -> str:
    """How a signal's arrays are laid out: "curves" or "planes"."""
    return form_of(tuple(judge.chosen(outputs).shape[1:]))


def embedding_view(judge: Any, floats: Any, quantized: Any, x: Tree, y: Tensor | None) -> Arrays:
    """Directions "float" and "quantized" (n, d); `nearest` makes neighbours of all of them."""
    return {"float": _array(judge.read(floats, x)), "quantized": _array(judge.read(quantized, x))}


def nearest(directions: Mapping[str, np.ndarray]) -> Arrays:
    """Each sample's nearest others in both networks.

    Returns:
        "float" and "quantized" (n, m) int32: numbers of the others, nearest first;
        "float_cosine" and "quantized_cosine" (n, m); "cosine" (n,) between its own directions.
    """
    found: Arrays = {"cosine": (directions["float"] * directions["quantized"]).sum(1)}
    for name in ("float", "quantized"):
        likeness = directions[name] @ directions[name].T
        np.fill_diagonal(likeness, -np.inf)
        most = min(NEIGHBOURS, len(likeness) - 1)
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :most]
        found[name] = order.astype(np.int32)
        found[f"{name}_cosine"] = np.take_along_axis(likeness, order, 1)
    return found


def _array(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().numpy()
    return found


VIEWS: Mapping[str, View] = MappingProxyType(
    {
        "classes": classes_view,
        "tokens": tokens_view,
        "map": map_view,
        "signal": signal_view,
        "embedding": embedding_view,
    }
)
"""Name of a judge to what is kept of its answers; `parts` has those of its parts."""
