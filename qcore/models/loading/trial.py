"""A network is tried on made-up samples before it is added: does it run, and what comes out."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from qcore.errors import InvalidConfig, InvalidData, UnsupportedModel
from qcore.example_inputs import example_inputs
from qcore.inputs import Input
from qcore.judges import Judge
from qcore.judges.proposal import propose
from qcore.trees import Tree, call, leaves, part

SAMPLES = 2


def try_network(
    network: nn.Module,
    input_shape: tuple[int, ...],
    inputs: tuple[Input, ...],
    judge: Judge | None,
    name: str,
    endings: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Judge, int, list[str]]:
    """Run a network once on two made-up samples.

    Args:
        network: In eval mode.
        input_shape: (channels, height, width) where it takes one image.
        inputs: What it takes otherwise.
        judge: How its answers are to be compared; None proposes one.
        name: What messages call it.
        endings: Output name ("" for the only one) to what its file says ends it: "softmax",
            "sigmoid" or "" for neither.

    Returns:
        (the judge, the number of outputs, sentences on what to know).

    Raises:
        UnsupportedModel: it takes other inputs, or returns what the judge cannot read.
        InvalidData: it cannot run on inputs like these.
        InvalidConfig: its outputs are NaN or infinite.
    """
    _check_signature(network, inputs, name)
    example: Tree = example_inputs(inputs, SAMPLES) if inputs else _images(input_shape)
    outputs = run(network, example, name, inputs)
    found = list(leaves(outputs))
    if not found or any(t.dim() == 0 or len(t) != SAMPLES for t in found[:1]):
        got = tuple(found[0].shape) if found else type(outputs).__name__
        raise UnsupportedModel(
            f"{name} must return a row for every sample; for {SAMPLES} it returned {got}. Wrap it "
            "in a module that keeps the samples as the first dimension."
        )
    odd = next((t for t in found if t.is_complex() or t.layout != torch.strided), None)
    if odd is not None:
        kind = "complex numbers" if odd.is_complex() else "sparse tensors"
        raise UnsupportedModel(
            f"{name} returns {kind}, which no judge compares. Wrap it in a module that returns "
            "plain ones: torch.view_as_real(y), or y.to_dense()."
        )
    if not all(bool(t.isfinite().all()) for t in found if t.is_floating_point()):
        raise InvalidConfig(
            f"{name} gives NaN or infinity on ordinary inputs; its weights are damaged or do not "
            "belong to this architecture."
        )
    notes = []
    chosen = judge
    if chosen is None:
        chosen = propose(outputs, example, _causal(network, example), endings)
        if chosen.name != "classes":
            notes.append(
                f"Its outputs are compared by the judge {chosen.name!r} ({chosen.divergence_name}, "
                f"{chosen.match.name}), as they suggest; another can be chosen."
            )
    if getattr(chosen, "probabilities", False):
        notes.append(
            "Its outputs are probabilities already; their logarithm is compared, so that "
            "divergences are those of the network without its last step."
        )
    try:
        answers = chosen.read(outputs, example)
        divergence = chosen.divergence(answers, answers)
    except InvalidData as error:
        raise UnsupportedModel(f"{name}: {error}") from error
    if divergence.shape != (SAMPLES,):
        raise UnsupportedModel(
            f"{name}: the judge {chosen.name!r} does not fit outputs of {tuple(found[0].shape)}."
        )
    first = found[0]
    return chosen, int(first.shape[1]) if first.dim() > 1 else 1, notes


def run(network: nn.Module, example: Tree, name: str, inputs: tuple[Input, ...] = ()) -> Any:
    """What a network returns, with whatever it raises turned into a sentence.

    Raises:
        InvalidData: it raised something; says on what inputs.
    """
    try:
        with torch.no_grad():
            return call(network, example)
    except Exception as error:
        # whatever a network of the user's raises is about its input or itself
        words = " ".join(str(error).split())[:300]
        if inputs:
            raise InvalidData(
                f"{name} cannot run on {'; '.join(each.words for each in inputs)}: {words}. Check "
                "the names, shapes and kinds of its inputs, and how many ids it knows."
            ) from error
        shape = tuple(example.shape[1:]) if isinstance(example, torch.Tensor) else ()
        raise InvalidData(
            f"{name} cannot run on two inputs of shape {shape}: {words}. Give the shape it was "
            "made for (channels x height x width); it must take any number of images."
        ) from error


def _images(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(SAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def _check_signature(network: nn.Module, inputs: tuple[Input, ...], name: str) -> None:
    parameters = inspect.signature(network.forward).parameters.values()
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if not inputs and len(needed) > 1:
        raise UnsupportedModel(
            f"{name} takes {len(needed)} inputs ({', '.join(needed)}). Say what each one is, as "
            f"--input {needed[0]}:int64:128, or wrap it in a module that makes the others up."
        )
    if inputs and len(needed) > len(inputs):
        raise UnsupportedModel(
            f"{name} takes {len(needed)} inputs ({', '.join(needed)}); you named "
            f"{', '.join(each.name for each in inputs)}. Name every one of them."
        )


@torch.no_grad()
def _causal(network: nn.Module, example: Tree) -> bool:
    """True where changing the last id of a text changes no output before it."""
    named = {"": example} if isinstance(example, torch.Tensor) else dict(example)
    key = next((k for k, v in named.items() if v.dim() == 2 and v.dtype == torch.int64), None)
    if key is None or named[key].shape[1] < 2 or int(named[key].max()) < 2:
        return False
    other = named[key].clone()
    other[:, -1] = (other[:, -1] + 1) % int(other.max())
    changed: Tree = {**named, key: other} if not isinstance(example, torch.Tensor) else other
    one, two = (next(leaves(call(network, x))) for x in (example, part(changed, slice(None))))
    if one.dim() != 3 or one.shape[1] != other.shape[1]:
        return False
    same = torch.allclose(one[:, :-1], two[:, :-1], atol=1e-5)
    return same and not torch.allclose(one[:, -1], two[:, -1], atol=1e-5)
