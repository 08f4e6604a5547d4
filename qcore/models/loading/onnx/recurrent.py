"""LSTM, GRU and RNN of an ONNX file as torch's modules, for onnx2torch, which knows none of them.

ONNX keeps gates in another order than torch: i o f c (torch: i f c o), and z r h (torch: r z h).
Its output is (steps, directions, n, width), torch's (steps, n, directions * width).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcore.errors import UnsupportedModel
from qcore.models.loading.onnx.peepholes import PeepholeLSTM
from qcore.models.loading.packages import need

_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Place of each of torch's gates among ONNX's."""

_CLASSES: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
_USUAL = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


class ResetFirst(nn.Module):
    """A GRU whose reset gate comes before the product with the last state, step by step.

    That is ONNX's linear_before_reset 0, and the GRU of the first papers; torch's `nn.GRU` resets
    what the product gave. Each of its matrices is a linear layer.

    Args:
        size: Numbers of an input's step.
        width: Of the state.
        bidirectional: True where a second one runs from the last step to the first.
    """

    def __init__(self, size: int, width: int, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional, self._width = bidirectional, width
        ways = range(2 if bidirectional else 1)
        self.inputs = nn.ModuleList(nn.Linear(size, 3 * width) for _ in ways)
        self.gates = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in ways)
        self.states = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in ways)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(steps, n, size) to outputs (steps, n, directions * width) and last states."""
        rows, last = [], []
        for at in range(len(self.inputs)):
            given = x.flip(0) if at else x
            state = x.new_zeros(x.shape[1], self._width) if h is None else h[at]
            steps = []
            for update, reset, new in self._parts(at, given):
                z, r = self.gates[at](state).chunk(2, 1)
                fresh = (new + self.states[at]((reset + r).sigmoid() * state)).tanh()
                share = (update + z).sigmoid()
                state = (1 - share) * fresh + share * state
                steps.append(state)
            found = torch.stack(steps)
            rows.append(found.flip(0) if at else found)
            last.append(state)
        return torch.cat(rows, 2), torch.stack(last)

    def _parts(self, at: int, x: Tensor) -> list[tuple[Tensor, ...]]:
        """What each step's input gives to the update gate, the reset gate and the new state."""
        return [tuple(step.chunk(3, 1)) for step in self.inputs[at](x).unbind(0)]

    def fill(self, at: int, w: Tensor, r: Tensor, b: Tensor | None) -> None:
        """Take one direction's weights as ONNX has them, gates in the order z r h."""
        self.inputs[at].weight.copy_(w)
        self.inputs[at].bias.copy_(w.new_zeros(len(w)) if b is None else sum(b.chunk(2)))
        self.gates[at].weight.copy_(r[: 2 * self._width])
        self.states[at].weight.copy_(r[2 * self._width :])


class Recurrent(nn.Module):
    """An LSTM, GRU or RNN as ONNX calls it.

    Args:
        cells: torch's module, or one of ours, of one layer, steps first.
        reverse: True where it runs from the last step to the first alone.
        batch_first: True where samples come before steps (ONNX's layout 1).
        alone: True where the last states are not asked for.
    """

    def __init__(
        self,
        cells: nn.RNNBase | ResetFirst | PeepholeLSTM,
        reverse: bool,
        batch_first: bool,
        alone: bool = False,
    ) -> None:
        super().__init__()
        self.cells = cells
        self._reverse, self._batch_first, self._alone = reverse, batch_first, alone
        # asked here, because the cells are replaced where their matrices become layers
        self._two_states = isinstance(cells, nn.LSTM | PeepholeLSTM)

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> Any:
        """(steps, n, d) to outputs (steps, directions, n, width) and last states."""
        if self._batch_first:
            x = x.transpose(0, 1)
            h, c = (None if s is None else s.transpose(0, 1) for s in (h, c))
        if self._reverse:
            x = x.flip(0)
        given: Any = h
        if self._two_states and (h is not None or c is not None):
            known: Any = c if h is None else h
            given = tuple(torch.zeros_like(known) if s is None else s for s in (h, c))
        found, states = self.cells(x, given)
        if self._reverse:
            found = found.flip(0)
        steps, n = found.shape[:2]
        ways = 2 if self.cells.bidirectional else 1
        y = found.reshape(steps, n, ways, -1).transpose(1, 2)
        last = states if isinstance(states, tuple) else (states,)
        if self._batch_first:
            y = y.permute(2, 0, 1, 3)
            last = tuple(state.transpose(0, 1) for state in last)
        return y if self._alone else (y, *last)


def convert_recurrent(node: Any, graph: Any) -> Any:
    """What onnx2torch makes of one node: the module, and the values it reads and gives.

    Raises:
        UnsupportedModel: it computes something that torch's module does not; says what.
    """
    common = need("onnx2torch.utils.common", "to read ONNX files")
    kind, given = node.operation_type, list(node.input_values)
    given += [""] * (8 - len(given))
    told = node.attributes
    way = told.get("direction", "forward")
    ways = 2 if way == "bidirectional" else 1
    usual = _USUAL[kind]
    functions = [str(name).lower() for name in told.get("activations", usual * ways)]
    relu = kind == "RNN" and functions == ["relu"] * ways
    name = node.name or kind
    _check(kind, name, told, given, functions == list(usual) * ways or relu)
    stored = [*given[1:4], given[7] if kind == "LSTM" else ""]
    missing = [value for value in stored if value and value not in graph.initializers]
    if missing:
        raise UnsupportedModel(f"The weights of the {kind} {name} are computed, not stored")
    w, r = (graph.initializers[value].to_torch() for value in given[1:3])
    b = graph.initializers[given[3]].to_torch() if given[3] else None
    p = graph.initializers[given[7]].to_torch() if kind == "LSTM" and given[7] else None
    cells: Any
    if kind == "GRU" and not told.get("linear_before_reset", 0):
        cells = _reset_first(w, r, b)
    elif p is not None and bool(p.any()):
        cells = PeepholeLSTM(w, r, b, p)
    else:
        cells = _cells(kind, w, r, b, relu)
    alone = len(node.output_values) == 1
    made = Recurrent(cells, way == "reverse", bool(told.get("layout", 0)), alone)
    places = [given[0], *(given[5:7] if kind == "LSTM" else given[5:6])]
    while len(places) > 1 and not places[-1]:
        places.pop()
    return common.OperationConverterResult(
        torch_module=made,
        onnx_mapping=common.OnnxMapping(inputs=tuple(places), outputs=node.output_values),
    )


@torch.no_grad()
def _cells(kind: str, w: Tensor, r: Tensor, b: Tensor | None, relu: bool) -> Any:
    """The module of torch with a file's weights."""
    width, size, ways = r.shape[2], w.shape[2], len(w)
    options: dict[str, Any] = {"nonlinearity": "relu"} if relu else {}
    cells = _CLASSES[kind](size, width, bias=b is not None, bidirectional=ways == 2, **options)
    for at in range(ways):
        end = "_reverse" if at else ""
        getattr(cells, f"weight_ih_l0{end}").copy_(_gates(w[at], kind, width))
        getattr(cells, f"weight_hh_l0{end}").copy_(_gates(r[at], kind, width))
        if b is not None:
            inner, hidden = b[at].chunk(2)
            getattr(cells, f"bias_ih_l0{end}").copy_(_gates(inner, kind, width))
            getattr(cells, f"bias_hh_l0{end}").copy_(_gates(hidden, kind, width))
    return cells


@torch.no_grad()
def _reset_first(w: Tensor, r: Tensor, b: Tensor | None) -> ResetFirst:
    cells = ResetFirst(w.shape[2], r.shape[2], len(w) == 2)
    for at in range(len(w)):
        cells.fill(at, w[at], r[at], None if b is None else b[at])
    return cells


def _check(kind: str, name: str, told: Any, given: list[str], usual: bool) -> None:
    reasons = []
    if not usual:
        reasons.append("other activations than torch's")
    if given[4]:
        raise UnsupportedModel(
            f"The {kind} {name} is given a length for each sample (sequence_lens), which only all "
            "of its steps can be here. Export the network without it (in torch without "
            "pack_padded_sequence), and give samples of one length"
        )
    if told.get("clip"):
        reasons.append("clipping")
    if told.get("input_forget"):
        reasons.append("coupled gates")
    if reasons:
        raise UnsupportedModel(
            f"The {kind} {name} has {' and '.join(reasons)}, which torch's {kind} has not"
        )


def _gates(rows: Tensor, kind: str, width: int) -> Tensor:
    blocks = rows.split(width)
    return torch.cat([blocks[place] for place in np.array(_ORDER[kind])])
