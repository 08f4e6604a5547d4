"""Finds the layers of a model that can be quantized, and accounts for every other parameter.

One forward pass with hooks says which convolutions and linear layers run, in what order and on what
shapes; `graph` says how they are wired. Every parameter ends up in one of three places: under a
bit-width, listed as left in float, or named in a warning as never used.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from qcore.allocation import LayerSpec, ModelSpec
from qcore.inputs import Input
from qcore.network.forward_pass import NORMS, Run, add_call, explicit_attention, place, watch
from qcore.network.graph import Wiring
from qcore.network.kept_wiring import wiring_of
from qcore.network.readers import reads_alike
from qcore.network.rewriting import expose_layers, plain
from qcore.network.rewriting.computed_weights import computed
from qcore.network.running import layout_refusal
from qcore.trees import Tree, moved, part, tensors

FEATURES_LAST = ("linear", "recurrent")
"""Kinds of layers whose channels are the last dimension of their outputs."""

_GEOMETRY = ("stride", "padding", "output_padding", "dilation", "groups", "padding_mode")


@dataclass(frozen=True)
class Found:
    """The layers of a model.

    Attributes:
        spec: The facts: layers in execution order, what stays in float, warnings.
        norms: Layer name to the path of the batch-norm that can be folded into it: the norm, in
            eval mode, alone reads the layer's output and norms nothing else. (For a transposed
            convolution output channels are dimension 1 of the weight, within groups.)
        aliases: Layer name to other paths of the same layer: the same module registered again, or
            a like module that shares its weight and bias. Replace them all by one.
        readers: Layer name to paths of modules that share its weight and read it in another way:
            at other strides, paddings or dilations, or with another bias (`readers.Reader`).
        products: Path of a module to the multiply-accumulates, for one sample, of the matrix
            products it makes itself: attention's queries with keys and probabilities with values.
            They have no weights, stay in float, and no cost counts them.
        channels_last: False where the model has to be given contiguous images: in the other layout
            it fails or computes something else.
        exported: False where torch.export refused the model; producers are then unknown.
    """

    spec: ModelSpec
    norms: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    products: Mapping[str, int] = field(default_factory=dict)
    exported: bool = True
    channels_last: bool = True


def find_layers(
    model: nn.Module, example: Tree, name: str, inputs: tuple[Input, ...] = ()
) -> Found:
    """Return the quantizable layers of a model, run once in eval mode on one example.

    Modules that hide layers are first rewritten (`rewriting.expose_layers`): the names are those of
    the rewritten model, the same for every model of the architecture.

    Multiply-accumulates are for one sample: numel(output) * numel(weight[0]) for a convolution,
    numel(input) * numel(weight) / in_channels for a transposed one and numel(output) * in_features
    for a linear layer. A layer that runs several times is one layer: its macs, inputs and outputs
    are summed over its calls. A weight that several modules of a class share is one layer, counted
    once under the name that runs first (`Found.aliases`, `Found.readers`); where their classes or
    groups differ, the later one keeps a float copy, listed as left in float.

    Args:
        model: Any module that maps tensors to tensors (n, ...). Its training flags are restored.
        example: Inputs (n, ...) of the kind the model takes; only the first sample is used.
        name: What ModelSpec.name says.
        inputs: What ModelSpec.inputs says: what the model takes where that is no image.

    Raises:
        UnsupportedModel: no convolution or linear layer runs, or the output is no tensor.
        InvalidData: the model cannot run on the example; says the channels it expects.
    """
    read_through = _computed_weights(model)
    model = expose_layers(model)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    example = moved(part(example, slice(1)), device)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with explicit_attention():
            run = watch(model, example, name)
            contiguous = layout_refusal(model, example)
            shared = _merge_shared(model, run)
            ids = {id(_weight(model, layer.name)): layer.name for layer in shared.layers}
            wiring = wiring_of(model, example, ids)
    finally:
        for module, training in modes.items():
            module.training = training
    refusal = wiring if isinstance(wiring, str) else ""
    if isinstance(wiring, str):
        wiring = Wiring(norms=_sequential_norms(model, run))
    layers = shared.layers
    norms = {
        layer.name: wiring.norms[layer.name]
        for layer in layers
        if layer.name in wiring.norms
        and layer.name not in shared.aliases
        and layer.name not in shared.readers
        and layer.name not in shared.copies.values()
        and _foldable(model, layer, wiring.norms[layer.name])
    }
    left, idle = _uncovered(model, run, shared, norms)
    spec = ModelSpec(
        name=name,
        digest=weights_digest(model),
        layers=_wire(layers, wiring, norms),
        left_in_float=left,
        warnings=(
            *_refused(refusal),
            *_contiguous(contiguous),
            *read_through,
            *_float_parts(model, run, shared, left),
            *_opaque_layers(run, left),
            *_float_products(run, layers),
            *_unknown_products(run),
            *idle,
        ),
        input_shape=tuple(next(tensors(example)).shape[1:]),
        classes=run.classes,
        inputs=inputs,
        defined=_defined(model, layers),
    )
    return Found(
        spec, norms, shared.aliases, shared.readers, _counted(run), not refusal, not contiguous
    )


def _defined(model: nn.Module, layers: tuple[LayerSpec, ...]) -> tuple[str, ...]:
    names = {layer.name for layer in layers}
    return tuple(path for path, _ in model.named_modules() if path in names)


def weights_digest(model: nn.Module) -> str:
    """64 hex digits of SHA-256 over every tensor of the state dict, sorted by name.

    Names, types, shapes and bytes enter; batch counters do not. It is that of the rewritten model
    (`rewriting.expose_layers`). Tensors on the meta device have no bytes.
    """
    model = expose_layers(model)
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        if key.endswith("num_batches_tracked") or not isinstance(value, Tensor):
            continue
        digest.update(f"{key}|{value.dtype}|{tuple(value.shape)}|".encode())
        if value.is_meta:
            continue
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def _weight(model: nn.Module, path: str) -> Tensor:
    return model.get_parameter(f"{path}.weight")


@dataclass(frozen=True)
class _Shared:
    """Layers after those that share a weight were merged.

    `aliases` are other paths of a layer, `readers` those where it is read in another way; `copies`
    are modules that share a layer's weight (path to the layer's name) but are of another kind, so
    that they cannot be the same layer.
    """

    layers: tuple[LayerSpec, ...]
    aliases: Mapping[str, tuple[str, ...]]
    readers: Mapping[str, tuple[str, ...]]
    copies: Mapping[str, str]


def _merge_shared(model: nn.Module, run: Run) -> _Shared:
    first: dict[int, str] = {}
    layers: dict[str, LayerSpec] = {}
    aliases: dict[str, list[str]] = {}
    readers: dict[str, list[str]] = {}
    copies: dict[str, str] = {}
    for path, layer in run.layers.items():
        owner = first.setdefault(id(_weight(model, path)), path)
        if owner == path:
            layers[path] = layer
        elif _alike(model.get_submodule(path), model.get_submodule(owner)):
            layers[owner] = add_call(layers[owner], layer)
            aliases.setdefault(owner, []).append(path)
        elif reads_alike(model.get_submodule(path), model.get_submodule(owner)):
            layers[owner] = _read_again(model, layers[owner], layer)
            readers.setdefault(owner, []).append(path)
        else:
            copies[path] = owner
    modules = {model.get_submodule(path): path for path in layers}
    reading = {model.get_submodule(p): name for name, paths in readers.items() for p in paths}
    for path, module in model.named_modules(remove_duplicate=False):
        if module in modules and path != modules[module]:
            aliases.setdefault(modules[module], []).append(path)
        elif module in reading and path not in readers[reading[module]]:
            readers[reading[module]].append(path)
    again, otherwise = ({k: tuple(v) for k, v in f.items()} for f in (aliases, readers))
    return _Shared(tuple(layers.values()), again, otherwise, copies)


def _read_again(model: nn.Module, layer: LayerSpec, call: LayerSpec) -> LayerSpec:
    """A layer with the work of a place that reads it otherwise, and that place's own bias."""
    biases = [getattr(model.get_submodule(each.name), "bias", None) for each in (layer, call)]
    more = 0 if biases[0] is biases[1] else layer.channels
    return replace(add_call(layer, call), biases=layer.biases + more)


def _alike(one: nn.Module, other: nn.Module) -> bool:
    return (
        type(one) is type(other)
        and getattr(one, "bias", None) is getattr(other, "bias", None)
        and all(getattr(one, key, None) == getattr(other, key, None) for key in _GEOMETRY)
    )


def _sequential_norms(model: nn.Module, run: Run) -> dict[str, str]:
    """Norms right after their layer in a Sequential, each run once, on that very output."""
    neighbours = [
        (f"{path}.{layer}".lstrip("."), f"{path}.{norm}".lstrip("."))
        for path, module in model.named_modules()
        if isinstance(module, nn.Sequential)
        for layer, norm in pairwise(key for key, _ in module.named_children())
    ]
    return {
        layer: norm
        for layer, norm in neighbours
        if run.calls.get(layer) == 1 and run.norm_inputs.get(norm) == [layer]
    }


def _foldable(model: nn.Module, layer: LayerSpec, norm: str) -> bool:
    """True where one factor and one shift per output channel equal the norm.

    A linear layer on sequences has its features last, where a norm does not look.
    """
    module = model.get_submodule(norm)
    return (
        isinstance(module, NORMS)
        and not layer.kind.endswith("embedding")
        and plain(module)
        and module.running_mean is not None
        and module.num_features == layer.channels
        and (layer.kind not in FEATURES_LAST or layer.outputs == layer.channels)
    )


def _wire(
    layers: tuple[LayerSpec, ...],
    wiring: Wiring,
    norms: Mapping[str, str],
) -> tuple[LayerSpec, ...]:
    producers = wiring.producers
    consumers: dict[str, list[str]] = {layer.name: [] for layer in layers}
    for layer in layers:
        for producer in producers.get(layer.name, ()):
            consumers[producer].append(layer.name)
    # a norm that does not fold works on floats
    unfolded = set(wiring.norms) - set(norms)
    follows = {name: other for name, other in wiring.follows.items() if other not in unfolded}
    return tuple(
        replace(
            layer,
            biases=layer.channels if layer.name in norms else layer.biases,
            producers=producers.get(layer.name, ()),
            consumers=tuple(consumers[layer.name]),
            tensor=wiring.tensors.get(layer.name, ""),
            stream=wiring.streams.get(layer.name, ""),
            follows=follows.get(layer.name, ""),
        )
        for layer in layers
    )


def _uncovered(
    model: nn.Module, run: Run, shared: _Shared, norms: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Parameters left in float, and a sentence on each part of the model that never runs."""
    inside = [layer.name for layer in shared.layers]
    both = (*shared.aliases.values(), *shared.readers.values())
    inside += [path for paths in both for path in paths]
    covered = {
        id(parameter)
        for path in (*inside, *norms.values())
        for parameter in model.get_submodule(path).parameters(recurse=False)
    }
    left: dict[str, int] = {}
    idle: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in covered:
            continue
        ran = id(parameter) in run.touched or name.rpartition(".")[0] in run.called
        (left if ran else idle)[name] = parameter.numel()
    left |= {
        name: buffer.numel()
        for name, buffer in model.named_buffers()
        if buffer.is_floating_point() and _multiplied(run, buffer)
    }
    for path in shared.copies:
        left[f"{path}.weight"] = _weight(model, path).numel()
    for layer in shared.layers:
        if _used_elsewhere(model, run, layer.name):
            left[f"{layer.name}.weight"] = layer.weights
    return left, _idle_parts(model, idle)


def _multiplied(run: Run, tensor: Tensor) -> bool:
    """True where a tensor is an operand of a product that no layer makes."""
    return id(tensor) in run.matrix_uses or place(tensor) in run.multiplied


def _used_elsewhere(model: nn.Module, run: Run, layer: str) -> bool:
    """True where a layer's weight also enters a matrix function outside any layer's own call."""
    weight = id(_weight(model, layer))
    inside = sum(calls for path, calls in run.calls.items() if id(_weight(model, path)) == weight)
    return run.matrix_uses.get(weight, 0) > inside


def _idle_parts(model: nn.Module, idle: Mapping[str, int]) -> list[str]:
    """One sentence for each highest module of which no parameter is used."""
    busy = {
        ".".join(name.split(".")[:depth])
        for name, _ in model.named_parameters()
        if name not in idle
        for depth in range(1, name.count(".") + 2)
    }
    parts: dict[str, int] = {}
    for name, count in idle.items():
        pieces = name.split(".")
        paths = [".".join(pieces[:depth]) for depth in range(1, len(pieces) + 1)]
        top = next(path for path in paths if path not in busy)
        parts[top] = parts.get(top, 0) + count
    return [
        f"{part} never runs in eval mode: its {count:,} parameters are neither under a bit-width "
        "nor counted as left in float."
        for part, count in parts.items()
    ]


def _computed_weights(model: nn.Module) -> list[str]:
    """A sentence on each way in which weights are computed, which were read through."""
    places: dict[str, list[str]] = {}
    for path, module in model.named_modules():
        for name, what in computed(module).items():
            places.setdefault(what, []).append(f"{path}.{name}".lstrip("."))
    return [
        f"What {what} computes ({len(names)} weights or biases; the first is {names[0]}) was "
        "computed once, in eval mode, and is plain from here on: it gets bits like any other, and "
        f"training goes on without {what}."
        for what, names in places.items()
    ]


def _refused(reason: str) -> list[str]:
    if not reason:
        return []
    return [
        f"torch.export cannot follow this model ({reason}), so it is not known which layer feeds "
        "which, and only batch-norms next to their layer in a Sequential are folded."
    ]


def _contiguous(reason: str) -> list[str]:
    if not reason:
        return []
    return [
        "It is run on contiguous images, which is slower: with channels last in memory it does not "
        f"compute the same ({reason}). x.flatten or x.reshape in the place of x.view mends most of "
        "such networks."
    ]


def _float_parts(model: nn.Module, run: Run, shared: _Shared, left: Mapping[str, int]) -> list[str]:
    """A sentence on each weight that stays in float though it is multiplied with."""
    sentences = []
    layers = {layer.name for layer in shared.layers}
    for name, count in left.items():
        owner = name.rpartition(".")[0]
        if owner in shared.copies:
            if name.endswith(".weight"):
                sentences.append(
                    f"{owner} shares the weight of {shared.copies[owner]} but is of another "
                    f"kind: it keeps a float copy of its {count:,} weights."
                )
        elif owner in layers:
            sentences.append(
                f"{name} is also used outside its layer: a float copy of its {count:,} weights "
                "stays for that."
            )
        elif owner in run.opaque:
            continue
        else:
            tensor = getattr(model.get_submodule(owner), name.rpartition(".")[2])
            if tensor.dim() > 1 and _multiplied(run, tensor):
                sentences.append(
                    f"{name} ({count:,} weights) stays in float: it goes straight into a function "
                    "of another module, never through a layer of its own."
                )
    return sentences


def _opaque_layers(run: Run, left: Mapping[str, int]) -> list[str]:
    """A sentence on each class that does something to a weight before multiplying with it."""
    weights: dict[str, dict[str, int]] = {}
    for path, kind in run.opaque.items():
        weights.setdefault(kind, {})[path] = left.get(f"{path}.weight", 0)
    return [
        f"{len(counts)} layers of the class {kind} ({sum(counts.values()):,} weights; the first is "
        f"{next(iter(counts))}) stay in float: the class does more than multiply with its weight, "
        "so that no scale can be taken out of it."
        for kind, counts in weights.items()
    ]


def _counted(run: Run) -> dict[str, int]:
    return {path: macs for path, macs in run.products.items() if macs}


def _float_products(run: Run, layers: tuple[LayerSpec, ...]) -> list[str]:
    """A sentence on the matrix products that no layer makes."""
    products = _counted(run)
    if not products:
        return []
    macs = sum(products.values())
    share = macs / (macs + sum(layer.macs for layer in layers))
    return [
        f"Matrix products outside any layer, as in attention, run in {len(products)} modules (the "
        f"first is {next(iter(products)) or 'the model itself'}): their {macs:,} "
        f"multiply-accumulates a sample ({share:.1%} of all) stay in float, and no cost counts "
        "them."
    ]


def _unknown_products(run: Run) -> list[str]:
    """A sentence on operators whose multiply-accumulates are in no account, if they make any."""
    return [
        f"The operator {name}, first used in {path or 'the model itself'}, is not known: the "
        "multiply-accumulates that it makes, if any, are in no account."
        for name, path in run.unknown.items()
    ]
