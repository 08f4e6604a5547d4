"""What is cached of a network: what tells it from others, and its layers."""

import hashlib

import torch
from torch import Tensor, nn

from qcore.allocation import ModelSpec
from qcore.cache import Arrays, Cache, document_arrays, document_of
from qcore.inputs import Input
from qcore.network.forward_pass import explicit_attention
from qcore.network.layers import Found, find_layers, weights_digest
from qcore.trees import Tree, call, leaves, part, tensors


@torch.no_grad()
def identity(network: nn.Module, example: Tree) -> str | None:
    """A digest of a network: its structure, its weights, and what it answers to one sample.

    The answer stands for code that is the user's: a forward pass that was changed computes
    something else from the same weights.

    Args:
        network: In eval mode.
        example: Inputs (n, ...) of the kind it takes; only the first sample's shape, and its ids
            and masks, are looked at.

    Returns:
        64 hex digits, or None where it cannot be told.
    """
    one = part(example, slice(1))
    sample: Tree = (
        _ramp(one) if isinstance(one, Tensor) else {name: _ramp(t) for name, t in one.items()}
    )
    digest = hashlib.sha256(weights_digest(network).encode())
    try:
        digest.update(repr(network).encode())
        with explicit_attention():
            answers = list(leaves(call(network, sample)))
    except Exception:  # noqa: BLE001 - the user's own code; whoever runs it next says what is wrong
        return None
    for tensor in (*tensors(sample), *answers):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    for tensor in answers:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()


def _ramp(x: Tensor) -> Tensor:
    """Numbers from -1 to 1 in the shape of x; ids and masks as they are."""
    if not x.is_floating_point():
        return x
    return torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)


def found_layers(
    network: nn.Module, example: Tree, name: str, inputs: tuple[Input, ...], cache: Cache
) -> tuple[Found, Cache]:
    """A network's layers as `find_layers` has them, and the cache of what depends on it.

    Raises:
        UnsupportedModel, InvalidData: as `find_layers`.
    """
    known = None if cache.folder is None else identity(network, example)
    if known is None:
        return find_layers(network, example, name, inputs), Cache()
    cache = cache.about(known)
    found = cache.found(
        "layers",
        lambda: find_layers(network, example, name, inputs),
        _to_arrays,
        _from_arrays,
        name,
        [each.to_json() for each in inputs],
    )
    return found, cache


def _to_arrays(found: Found) -> Arrays | None:
    document = {
        "spec": found.spec.to_json(),
        "norms": dict(found.norms),
        "aliases": {name: list(paths) for name, paths in found.aliases.items()},
        "readers": {name: list(paths) for name, paths in found.readers.items()},
        "products": dict(found.products),
        "exported": found.exported,
        "channels_last": found.channels_last,
    }
    arrays = document_arrays(document)
    return arrays if _from_arrays(arrays) == found else None


def _from_arrays(arrays: Arrays) -> Found:
    document = document_of(arrays)
    paths = {
        kind: {name: tuple(found) for name, found in document[kind].items()}
        for kind in ("aliases", "readers")
    }
    return Found(
        spec=ModelSpec.from_json(document["spec"]),
        norms=document["norms"],
        products=document["products"],
        exported=document["exported"],
        channels_last=document["channels_last"],
        **paths,
    )
