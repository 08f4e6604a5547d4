"""An LSTM whose gates also see the cell, step by step: torch's `nn.LSTM` has none of these weights.

Reference: Gers, Schraudolph and Schmidhuber, JMLR 2002, with one weight a cell, as ONNX has them.
"""

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]
"""Hidden state and cell, (directions, n, width) each."""


class PeepholeLSTM(nn.Module):
    """An LSTM with peepholes. Each of its matrices is a linear layer; gates lie as i o f c.

    Args:
        w: Weights of the input, (directions, 4 * width, size).
        r: Weights of the hidden state, (directions, 4 * width, width).
        b: Biases of both in a row, (directions, 8 * width); None for none.
        p: What the gates i, o and f see of the cell, (directions, 3 * width).
    """

    def __init__(self, w: Tensor, r: Tensor, b: Tensor | None, p: Tensor) -> None:
        super().__init__()
        self.bidirectional, self._width = len(w) == 2, r.shape[2]
        both = w.new_zeros(len(w), 2 * w.shape[1]) if b is None else b
        biases = torch.stack(both.chunk(2, 1)).sum(0)
        pairs = zip(w, biases, strict=True)
        self.inputs = nn.ModuleList(_linear(each, bias) for each, bias in pairs)
        self.states = nn.ModuleList(_linear(each, None) for each in r)
        self.peepholes = nn.ParameterList(nn.Parameter(each.clone()) for each in p)

    def forward(self, x: Tensor, given: State | None = None) -> tuple[Tensor, State]:
        """(steps, n, size) to outputs (steps, n, directions * width) and last states."""
        rows, hidden, cells = [], [], []
        for at in range(len(self.inputs)):
            zeros = x.new_zeros(x.shape[1], self._width)
            state = (zeros, zeros) if given is None else (given[0][at], given[1][at])
            steps = []
            for step in self.inputs[at](x.flip(0) if at else x).unbind(0):
                state = self._step(at, step, state)
                steps.append(state[0])
            found = torch.stack(steps)
            rows.append(found.flip(0) if at else found)
            hidden.append(state[0])
            cells.append(state[1])
        return torch.cat(rows, 2), (torch.stack(hidden), torch.stack(cells))

    def _step(self, at: int, given: Tensor, state: State) -> State:
        h, c = state
        i, o, f, new = (given + self.states[at](h)).chunk(4, 1)
        peek_i, peek_o, peek_f = self.peepholes[at].chunk(3)
        cell = (f + peek_f * c).sigmoid() * c + (i + peek_i * c).sigmoid() * new.tanh()
        return (o + peek_o * cell).sigmoid() * cell.tanh(), cell


@torch.no_grad()
def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made
