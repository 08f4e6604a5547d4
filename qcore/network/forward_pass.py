"""One forward pass of a model in eval mode, watched: what runs, on what shapes, with which weights.

Hooks see the modules that run; a torch-function mode sees the parameters that enter functions
directly, which modules alone would miss (attention's projections, for one).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from qcore.allocation import LayerSpec
from qcore.errors import InvalidData, UnsupportedModel
from qcore.network.operation import operation_of, unknown_id, unknown_words
from qcore.network.products import PRODUCTS, product_macs
from qcore.network.rewriting import plain
from qcore.network.rewriting.recurrent import PackedSteps, RecurrentMatrix
from qcore.network.rewriting.tied import TiedEmbedding

KINDS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.ConvTranspose3d: "conv_transpose3d",
    RecurrentMatrix: "recurrent",
    TiedEmbedding: "tied_embedding",
    nn.Linear: "linear",
    nn.Embedding: "embedding",
}
"""Module types that are layers (subclasses too; the first that fits), and what LayerSpec calls
them."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Norms that can be folded into the layer before them."""

_MATRIX_FUNCTIONS = frozenset(
    {"linear", "bilinear", "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm", "einsum"}
    | {"tensordot", "embedding", "embedding_bag", "multi_head_attention_forward"}
    | {f"conv{dims}d" for dims in (1, 2, 3)}
    | {f"conv_transpose{dims}d" for dims in (1, 2, 3)}
)
_VIEW_FUNCTIONS = frozenset(
    {"t", "transpose", "permute", "view", "reshape", "flatten", "contiguous", "chunk", "split"}
    | {"unbind", "squeeze", "unsqueeze", "clone", "__getitem__", "to", "float", "type_as"}
)


@dataclass
class Run:
    """What one forward pass showed; filled by hooks.

    Attributes:
        layers: Path of each layer that ran to its facts, in the order of first calls; macs, inputs
            and outputs are summed over its calls.
        calls: How often each of them ran.
        called: Paths of all modules that ran.
        norm_inputs: Path of each batch-norm to the layers whose very output it was given, once
            for each call; "" where it was given anything else.
        matrix_uses: id() of each parameter to how often it entered a matrix function.
        touched: id() of each parameter that entered any function.
        outputs: Outputs of layers with their paths.
        inside: Paths of the modules whose calls have started and not ended, outermost first.
        products: Path of a module to the multiply-accumulates of the matrix products it makes
            itself, through no layer (attention's, for example).
        opaque: Path of each convolution or linear module whose own forward pass does not just
            multiply with its weight, to the name of its class.
        running: Layer calls that have started and not ended: (path, layer, its input).
        classes: Second dimension of the model's output.
    """

    layers: dict[str, LayerSpec] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    norm_inputs: dict[str, list[str]] = field(default_factory=dict)
    matrix_uses: dict[int, int] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    outputs: list[tuple[Tensor, str]] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    products: dict[str, int] = field(default_factory=dict)
    opaque: dict[str, str] = field(default_factory=dict)
    running: list[tuple[str, nn.Module, Tensor]] = field(default_factory=list)
    classes: int = 0


@contextmanager
def explicit_attention() -> Iterator[None]:
    """Switch off attention's fused path inside: in eval mode it would hide the modules in it."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _ParameterUses(TorchFunctionMode):
    """Records which parameters functions read, and matrix products made outside of layers."""

    def __init__(self, model: nn.Module, run: Run) -> None:
        super().__init__()
        self._run = run
        # tensors are kept, so that no id is used twice
        self._known = {id(p): (p, id(p)) for p in model.parameters()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function and note the parameters among its arguments."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        kind = getattr(func, "__name__", "")
        if kind == "__get__":
            return result
        if kind in PRODUCTS and not self._run.running and self._run.inside:
            owner, macs = self._run.inside[-1], product_macs(kind, args, result)
            self._run.products[owner] = self._run.products.get(owner, 0) + macs
        for value in _tensors((args, tuple(kwargs.values()))):
            if id(value) not in self._known:
                continue
            origin = self._known[id(value)][1]
            self._run.touched.add(origin)
            if kind in _MATRIX_FUNCTIONS:
                uses = self._run.matrix_uses
                uses[origin] = uses.get(origin, 0) + 1
            elif kind in _VIEW_FUNCTIONS:
                for view in _tensors((result,)):
                    self._known.setdefault(id(view), (view, origin))
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


_LAYER_TYPES: Any = tuple(KINDS)


def _is_layer(module: nn.Module) -> bool:
    # under a parametrization (weight norm) the weight is computed, not a parameter
    return isinstance(module, _LAYER_TYPES) and "weight" in module._parameters


def _multiplies(module: nn.Module, given: Tensor) -> bool:
    """True where a layer's output, bias aside, is proportional to its input and to its weight.

    So it is for the torch classes. A subclass with a forward pass of its own may pad differently
    (that is proportional) or standardise its weight first (that is not): it is tried. A forward
    pass set on the module itself cannot be given other weights. Tensors on the meta device have no
    numbers to try.
    """
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return False  # it shortens the rows that it gives, in place
    if plain(module) or isinstance(module, TiedEmbedding) or given.is_meta:
        return True
    if "forward" in vars(module):
        return False
    # on numbers of its own: the verdict must not change with the images or the weights
    generator = torch.Generator().manual_seed(0)
    looks_up = isinstance(module, nn.Embedding)
    x = torch.randn(given.shape, generator=generator).to(given.device, given.dtype)
    # made without the weight itself, whose uses are being counted
    weight = torch.randn(module.weight.shape, generator=generator).to(module.weight)
    call = operation_of(module).call
    if looks_up:
        expected, got = 3 * call(given, weight, None), call(given, 3 * weight, None)
    else:
        expected, got = 6 * call(x, weight, None), call(2 * x, 3 * weight, None)
    return bool((got - expected).norm() <= 1e-3 * expected.norm())


def watch(model: nn.Module, example: Tensor, name: str) -> Run:
    """Run a model, already in eval mode, on one example (1, ...) and return what was seen.

    Raises:
        UnsupportedModel: no layer ran, or the output is no tensor of at least two dimensions.
        InvalidData: the forward pass failed; the message says which layer expected what.
    """
    run, handles = Run(), []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_before(run, path), with_kwargs=True))
        handles.append(module.register_forward_hook(_after(run, path), with_kwargs=True))
    try:
        with torch.no_grad(), _ParameterUses(model, run):
            output = model(example)
    except PackedSteps as error:
        raise UnsupportedModel(f"{name} cannot be quantized: {error}.") from error
    except (RuntimeError, AssertionError, ValueError, TypeError, LookupError) as error:
        raise InvalidData(_misfit(name, run, example, error)) from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output.dim() < 2:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UnsupportedModel(
            f"{name} must return one tensor of shape (images, classes); it returned {got}. Wrap it "
            "in a module that returns the class scores alone."
        )
    if "" in run.layers:
        raise UnsupportedModel(f"{name} is a single layer; wrap it: nn.Sequential(layer).")
    if not run.layers:
        raise UnsupportedModel(
            f"{name} has no layer to quantize: no convolution or linear module ran in its forward "
            "pass."
        )
    run.classes = output.shape[1]
    return run


def _before(run: Run, path: str) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        run.called.add(path)
        run.inside.append(path)
        given = args[0] if args else next(iter(kwargs.values()), None)
        if not isinstance(given, Tensor):
            return
        if _is_layer(module):
            run.running.append((path, module, given))
        elif isinstance(module, NORMS):
            sources = [layer for output, layer in run.outputs if output is given]
            run.norm_inputs.setdefault(path, []).extend(sources or [""])

    return hook


def _after(run: Run, path: str) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        run.inside.pop()
        if not _is_layer(module) or not run.running:
            return
        _, _, given = run.running[-1]
        multiplies = path not in run.opaque and _multiplies(module, given)
        run.running.pop()
        call = _describe(path, module, given, output)
        if not multiplies:
            bound = getattr(module, "max_norm", None) is not None
            run.opaque[path] = f"{type(module).__name__}{' with max_norm' if bound else ''}"
            run.layers.pop(path, None)
            run.products[path] = run.products.get(path, 0) + call.macs
            return
        run.layers[path] = add_call(run.layers[path], call) if path in run.layers else call
        run.calls[path] = run.calls.get(path, 0) + 1
        run.outputs.append((output, path))

    return hook


def add_call(layer: LayerSpec, call: LayerSpec) -> LayerSpec:
    """A layer with the work of one more call: macs, inputs and outputs are summed."""
    return replace(
        layer,
        macs=layer.macs + call.macs,
        inputs=layer.inputs + call.inputs,
        outputs=layer.outputs + call.outputs,
    )


def _describe(path: str, module: nn.Module, given: Tensor, output: Tensor) -> LayerSpec:
    """Facts of one call on one sample."""
    weight: Tensor = module.weight
    kind = next(kind for cls, kind in KINDS.items() if isinstance(module, cls))
    if not given.is_floating_point():
        rows, bias = len(weight), getattr(module, "bias", None)
        biases, wide = (0 if bias is None else rows), getattr(module, "in_features", 1)
        return LayerSpec(
            path, kind, weight.numel(), rows, biases, 0, 0, output.numel(), in_channels=wide
        )
    channels = len(weight) if isinstance(module, nn.Linear) else module.out_channels
    if kind.startswith("conv_transpose"):
        macs = given.numel() * weight.numel() // module.in_channels
    else:
        macs = output.numel() * weight[0].numel()
    return LayerSpec(
        name=path,
        kind=kind,
        weights=weight.numel(),
        channels=channels,
        biases=0 if module.bias is None else channels,
        macs=macs,
        inputs=given.numel(),
        outputs=output.numel(),
        in_channels=getattr(module, "in_channels", 0) or getattr(module, "in_features", 1),
        groups=getattr(module, "groups", 1),
    )


def _misfit(name: str, run: Run, example: Tensor, error: Exception) -> str:
    shape = tuple(example.shape[1:])
    if run.running:
        path, module, given = run.running[-1]
        if isinstance(module, (nn.Embedding, TiedEmbedding)) and not given.is_floating_point():
            odd = unknown_id(given, len(module.weight))
            if odd is not None:
                return f"{name} cannot run on inputs of shape {shape}: " + unknown_words(
                    odd, len(module.weight), f"its embedding {path!r}"
                )
            expected, got, what = 0, 0, "ids"
        elif isinstance(module, nn.Linear):
            expected, got, what = module.in_features, given.shape[-1], "features"
        else:
            expected, got, what = (
                module.in_channels,
                given.shape[1] if given.dim() > 1 else 0,
                ("channels"),
            )
        if expected != got:
            return (
                f"{name} cannot run on inputs of shape {shape}: its layer {path!r} takes "
                f"{expected} {what}, and is given {got}. Use images with the channels and size "
                "the model was made for."
            )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (
        f"{name} cannot run on inputs of shape {shape}: {lines[0]}. Use images with the channels "
        "and size the model was made for."
    )
