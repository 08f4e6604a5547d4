"""Recurrent modules with their matrices as linear layers, run step by step.

nn.LSTM, nn.GRU, nn.RNN and their cells hand all their weights to one function, so that no module
shows a product. Here each matrix is a layer: `ih_l0` multiplies the input of all steps, `hh_l0` the
hidden state of one step after the other, `hr_l0` projects an LSTM's output (proj_size). Further
layers end in `_l1`, `_l2`, and those that run backwards in `_reverse`; a cell has `ih` and `hh`.

Rows of a matrix are gates, one block after the other as PyTorch keeps them: LSTM input, forget,
cell, output; GRU reset, update, new; RNN one block.

Reference: Hochreiter and Schmidhuber, Neural Computation 1997, with forget gates (Gers et al. 2000)
and a projection (Sak et al. 2014, equations 1 to 6); Cho et al., EMNLP 2014, with the reset gate
behind the product as in PyTorch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

State = tuple[Tensor, ...]
"""Hidden state, and with an LSTM the cell state."""


class PackedSteps(TypeError):
    """Steps came packed, in a form that linear layers cannot read."""


class RecurrentMatrix(nn.Linear):
    """One matrix of a recurrent module: a linear layer that runs at every step."""


def recurrent_parts(module: nn.Module) -> bool:
    """True where a recurrent module's weights are parameters of its own, as PyTorch made them.

    Under weight norm or pruning they are computed, and there is nothing that a layer could hold.
    """
    m: Any = module
    names = [n for row in getattr(m, "_all_weights", [["weight_ih", "weight_hh"]]) for n in row]
    return all(module._parameters.get(name) is not None for name in names)


class _Rewritten(nn.Module):
    """What all of them share: layers by their old names, and the arithmetic of one step."""

    mode: str

    def __init__(self, module: Any) -> None:
        super().__init__()
        # sizes and flags, those of a subclass too
        kept = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        self.__dict__.update(kept)

    def _add(self, module: Any, place: str) -> None:
        layer = RecurrentMatrix(1, 1, bias=False, device="meta")
        layer.weight = getattr(module, f"weight_{place}")
        if f"bias_{place}" in module._parameters:
            layer.bias = getattr(module, f"bias_{place}")
        layer.out_features, layer.in_features = layer.weight.shape
        setattr(self, place, layer)

    def __getattr__(self, name: str) -> Any:
        """Give weights under their old names too ("weight_ih_l0"), for code that asks for them."""
        part, _, place = name.partition("_")
        layers = self.__dict__.get("_modules", {})
        if part in ("weight", "bias") and place in layers:
            return getattr(layers[place], part)
        return super().__getattr__(name)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state dict of the original as well: weight_ih_l0 is ih_l0.weight here."""
        for place in self._modules:
            for part in ("weight", "bias"):
                value = state_dict.pop(f"{prefix}{part}_{place}", None)
                if value is not None:
                    state_dict[f"{prefix}{place}.{part}"] = value
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _step(self, given: Tensor, product: Tensor, state: State) -> State:
        """The next state, from the input's product and the hidden state's: (n, gates * hidden)."""
        if self.mode == "LSTM":
            i, f, g, o = (given + product).chunk(4, -1)
            cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(cell), cell
        if self.mode == "GRU":
            (r, z, n), (hidden_r, hidden_z, hidden_n) = given.chunk(3, -1), product.chunk(3, -1)
            update = torch.sigmoid(z + hidden_z)
            new = torch.tanh(n + torch.sigmoid(r + hidden_r) * hidden_n)
            return (new + update * (state[0] - new),)
        total = given + product
        return (torch.relu(total) if self.mode == "RNN_RELU" else torch.tanh(total),)


class ExplicitRecurrent(_Rewritten):
    """nn.LSTM, nn.GRU or nn.RNN whose layers are ih_l0, hh_l0 and so on.

    Takes and returns what the original does, and its state dicts load into it.

    Args:
        module: The original; its parameters are shared.
        rows: Not used; slices of parameters already made (see `rewriting`).
    """

    def __init__(self, module: Any, rows: object = None) -> None:
        super().__init__(module)
        ends = ("", "_reverse") if module.bidirectional else ("",)
        self.places = [[f"l{depth}{end}" for end in ends] for depth in range(module.num_layers)]
        for place in (place for row in self.places for place in row):
            self._add(module, f"ih_{place}")
            self._add(module, f"hh_{place}")
            if module.proj_size:
                self._add(module, f"hr_{place}")

    def flatten_parameters(self) -> None:
        """Nothing: there is no common memory here."""

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Run over all steps; arguments, shapes and results as of the original.

        Args:
            input: (steps, n, features), (n, steps, features) with batch_first, or (steps,
                features).
            hx: Initial hidden state (layers * directions, n, hidden), of an LSTM with the cell
                state; zeros where None. Without n where the input has none.

        Returns:
            Outputs of the last layer, shaped like the input; the last states, shaped like hx.

        Raises:
            PackedSteps: the input is a PackedSequence.
        """
        if isinstance(input, PackedSequence):
            raise PackedSteps(
                "its recurrent layers are given packed sequences "
                "(torch.nn.utils.rnn.pack_padded_sequence), and layers with bits need padded "
                "tensors. Leave the packing out and read the outputs at each sample's last step"
            )
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(0)
        if batched and not self.batch_first:
            x = x.transpose(0, 1)
        states = self._initial(x, hx, batched)
        last: list[State] = []
        for depth, row in enumerate(self.places):
            if depth and self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
            outputs = []
            for place in row:
                output, state = self._run(x, place, states[len(last)])
                outputs.append(output)
                last.append(state)
            x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        if not batched:
            x, ends = x.squeeze(0), tuple(end.squeeze(1) for end in ends)
        elif not self.batch_first:
            x = x.transpose(0, 1)
        return x, ends if self.mode == "LSTM" else ends[0]

    def _initial(self, x: Tensor, hx: Any, batched: bool) -> list[State]:
        """The first state of each layer and direction, in order."""
        count = sum(map(len, self.places))
        if hx is None:
            hidden = _zeros(x, x.shape[0], self.proj_size or self.hidden_size)
            cell = _zeros(x, x.shape[0], self.hidden_size)
            return [(hidden, cell) if self.mode == "LSTM" else (hidden,)] * count
        parts = hx if self.mode == "LSTM" else (hx,)
        if not batched:
            parts = [part.unsqueeze(1) for part in parts]
        return list(zip(*(part.unbind(0) for part in parts), strict=True))

    def _run(self, x: Tensor, place: str, state: State) -> tuple[Tensor, State]:
        """One layer in one direction: (n, steps, features) to (n, steps, hidden)."""
        layers = self._modules
        hidden: Any = layers[f"hh_{place}"]
        project: Any = layers.get(f"hr_{place}")
        # the input is there at once, and samples come first as in every other layer
        given = layers[f"ih_{place}"](x).unbind(1)
        backwards = place.endswith("_reverse")
        outputs = []
        for part in reversed(given) if backwards else given:
            state = self._step(part, hidden(state[0]), state)
            if project is not None:
                state = (project(state[0]), *state[1:])
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs, 1), state


class ExplicitCell(_Rewritten):
    """nn.LSTMCell, nn.GRUCell or nn.RNNCell whose layers are ih and hh.

    Args:
        module: The original; its parameters are shared.
        rows: Not used; slices of parameters already made (see `rewriting`).
    """

    def __init__(self, module: Any, rows: object = None) -> None:
        super().__init__(module)
        gates = len(module.weight_hh) // module.hidden_size
        plain = f"RNN_{getattr(module, 'nonlinearity', 'tanh').upper()}"
        self.mode = {4: "LSTM", 3: "GRU"}.get(gates, plain)
        self._add(module, "ih")
        self._add(module, "hh")

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """One step; arguments, shapes and results as of the original.

        Args:
            input: (n, features) or (features,).
            hx: Hidden state (n, hidden), of an LSTM cell with the cell state; zeros where None.

        Returns:
            The next state, as hx is given.
        """
        if hx is None:
            zeros = _zeros(input, *input.shape[:-1], self.hidden_size)
            hx = (zeros, zeros) if self.mode == "LSTM" else zeros
        state = tuple(hx) if self.mode == "LSTM" else (hx,)
        given, product = self._modules["ih"](input), self._modules["hh"](state[0])
        state = self._step(given, product, state)
        return state if self.mode == "LSTM" else state[0]


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=like.dtype, device=like.device)
