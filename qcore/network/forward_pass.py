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
from qcore.errors import InvalidData, QcoreError, UnsupportedModel
from qcore.network.operation import operation_of, unknown_id, unknown_words
from qcore.network.products import Products
from qcore.network.rewriting import plain
from qcore.network.rewriting.recurrent import PackedSteps, RecurrentMatrix
from qcore.network.rewriting.tied import TiedEmbedding
from qcore.trees import Tree, call, leaves, shown, tensors

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
        matrix_uses: id() of each parameter or buffer to how often it entered a matrix function.
        touched: id() of each parameter or buffer that entered any function.
        outputs: Outputs of layers with their paths.
        inside: Paths of the modules whose calls have started and not ended, outermost first.
        products: Path of a module to the multiply-accumulates of the matrix products it makes
            itself, through no layer (attention's, for example).
        multiplied: `place` of each operand of those products.
        unknown: Name of each operator that may be a product and is not counted, to the path of the
            module that first used it.
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
    multiplied: set[int] = field(default_factory=set)
    unknown: dict[str, str] = field(default_factory=dict)
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
    """Records which parameters and buffers functions read."""

    def __init__(self, model: nn.Module, run: Run) -> None:
        super().__init__()
        self._run = run
        # tensors are kept, so that no id is used twice
        self._buffers = {id(buffer) for buffer in model.buffers()}
        tensors = (*model.parameters(), *model.buffers())
        self._known = {id(tensor): (tensor, id(tensor)) for tensor in tensors}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function and note the parameters among its arguments."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        kind = getattr(func, "__name__", "")
        if kind == "__get__":
            return result
        for value in _tensors((args, tuple(kwargs.values()))):
            if id(value) not in self._known:
                continue
            origin = self._known[id(value)][1]
            self._run.touched.add(origin)
            if origin in self._buffers and self._run.running:
                continue  # a layer's input, not a weight
            if kind in _MATRIX_FUNCTIONS:
                uses = self._run.matrix_uses
                uses[origin] = uses.get(origin, 0) + 1
            elif kind in _VIEW_FUNCTIONS:
                for view in _tensors((result,)):
                    self._known.setdefault(id(view), (view, origin))
        return result


def _outside_layers(run: Run) -> Products:
    """What counts the products that are made while no layer runs."""

    def count(macs: int, operands: list[Tensor]) -> None:
        if run.running or not run.inside:
            return
        run.products[run.inside[-1]] = run.products.get(run.inside[-1], 0) + macs
        run.multiplied.update(place(operand) for operand in operands)

    def unknown(name: str) -> None:
        if not run.running and run.inside:
            run.unknown.setdefault(name, run.inside[-1])

    return Products(count, unknown)


def place(tensor: Tensor) -> int:
    """Where a tensor's numbers lie: the same for all views of them."""
    if tensor.layout != torch.strided:
        return id(tensor)
    return int(tensor.untyped_storage()._cdata)


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
    if isinstance(module, nn.Embedding) and (
        module.max_norm is not None or given.is_floating_point()
    ):
        # it shortens the rows that it gives, in place; or makes its own ids, as tables of positions
        return False
    if plain(module) or isinstance(module, TiedEmbedding) or given.is_meta:
        return True
    if "forward" in vars(module):
        return False
    # on numbers of its own: the verdict must not change with the images or the weights
    generator = torch.Generator().manual_seed(0)
    looks_up = isinstance(module, nn.Embedding)
    x = torch.randn(given.shape, generator=generator).to(given.device, given.dtype)
    # made without the weight itself, whose uses are being counted
    kind: Any = module.weight
    weight = torch.randn(kind.shape, generator=generator).to(kind.device, kind.dtype)
    call = operation_of(module).call
    if looks_up:
        expected, got = 3 * call(given, weight, None), call(given, 3 * weight, None)
    else:
        expected, got = 6 * call(x, weight, None), call(2 * x, 3 * weight, None)
    return bool((got - expected).norm() <= 1e-3 * expected.norm())


def watch(model: nn.Module, example: Tree, name: str) -> Run:
    """Run a model, already in eval mode, on one example (1, ...) and return what was seen.

    Raises:
        UnsupportedModel: no layer ran, or nothing it returned is a tensor.
        InvalidData: the forward pass failed; the message says which layer expected what.
    """
    run, handles = Run(), []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_before(run, path), with_kwargs=True))
        handles.append(module.register_forward_hook(_after(run, path), with_kwargs=True))
    try:
        with torch.no_grad(), _ParameterUses(model, run), _outside_layers(run):
            output = call(model, example)
    except PackedSteps as error:
        raise UnsupportedModel(f"{name} cannot be quantized: {error}.") from error
    except (QcoreError, MemoryError):
        raise
    except Exception as error:
        # the user's own code raises what it likes
        raise InvalidData(_misfit(model, name, run, example, error)) from error
    finally:
        for handle in handles:
            handle.remove()
    first = next(leaves(output), None)
    if first is None:
        raise UnsupportedModel(
            f"{name} must return tensors; it returned {type(output).__name__}. Wrap it in a module "
            "that returns what is to be compared."
        )
    if "" in run.layers:
        raise UnsupportedModel(f"{name} is a single layer; wrap it: nn.Sequential(layer).")
    if not run.layers:
        raise UnsupportedModel(f"{name} has no layer to quantize: {_no_layer(model, run)}.")
    run.classes = first.shape[1] if first.dim() > 1 else 1
    return run


def _no_layer(model: nn.Module, run: Run) -> str:
    """Why none of a model's modules is a layer."""
    modules = {p: m for p, m in model.named_modules() if isinstance(m, _LAYER_TYPES)}
    ran = [path for path in modules if path in run.called]
    made = [path for path in ran if "weight" not in modules[path]._parameters]
    if run.opaque:
        path, kind = next(iter(run.opaque.items()))
        return (
            f"its {len(run.opaque)} convolution and linear modules (the first is {path}, a {kind}) "
            "do more than multiply with their weight"
        )
    if made:
        return (
            f"the weights of its {len(made)} convolution and linear modules (the first is "
            f"{made[0]}) are no parameters; something computes them. Make them parameters first"
        )
    if any(run.products.values()):
        return (
            "its multiplications are made by functions, in no convolution or linear module. Put "
            "their weights into modules (nn.Conv2d, nn.Linear)"
        )
    if modules:
        return f"none of its {len(modules)} convolution and linear modules ran in its forward pass"
    return "it has no convolution or linear module"


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
        if len(args) + len(kwargs) > 1 and not plain(module):
            multiplies = False  # what it makes of its further arguments is not known
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
    if not given.is_floating_point() or isinstance(module, nn.Embedding):
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


def _misfit(model: nn.Module, name: str, run: Run, example: Tree, error: Exception) -> str:
    shape = shown(example)
    start = f"{name} cannot run on inputs of shape {shape}"
    given = {t.dtype for t in tensors(example) if t.is_floating_point()}
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()} - given
    if kinds and given:
        ours, theirs = (str(min(k, key=str)).removeprefix("torch.") for k in (given, kinds))
        return (
            f"{start}: they are {ours}, and it has weights in {theirs}. Bring it to {ours} first: "
            "model.float()."
        )
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
                f"{start}: its layer {path!r} takes {expected} {what}, and is given {got}. Use "
                "inputs with the channels and size the model was made for."
            )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    inside = run.inside[-1] if run.inside else ""
    place = f" in its module {inside!r}" if inside else ""
    return (
        f"{start}: {type(error).__name__}{place}: {lines[0]}. Use inputs with the channels and "
        "size the model was made for, or correct its forward pass."
    )
