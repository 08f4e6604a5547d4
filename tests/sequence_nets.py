"""Small networks on sequences, read from an image: its rows as steps, or its pixels as ids."""

import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from qcore.costs.budget import Budget, make_options
from qcore.network.layers import Found, find_layers
from qcore.problem import Problem
from qcore.ptq.model import QuantizedModel
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.qat.setup import Setup
from qcore.qat.trainer import Trainer
from qcore.scoring.evaluator import Evaluator
from qcore.sensitivity.measured import compute_table
from tests.small_nets import small_data, small_images

SHAPE, CLASSES = (1, 8, 8), 4
CONSTRUCTORS: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "lstm-projected": (nn.LSTM, {"proj_size": 3}),
    "gru": (nn.GRU, {}),
    "rnn-tanh": (nn.RNN, {}),
    "rnn-relu": (nn.RNN, {"nonlinearity": "relu"}),
}
"""Every recurrent module of PyTorch, by name: class and settings."""

FORMS = [
    {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias}
    for layers, both, first, bias in itertools.product((1, 2), *[(False, True)] * 3)
]
"""Settings that all of them have."""


def recurrent(kind: str, inputs: int, hidden: int, **form: Any) -> Any:
    """One of CONSTRUCTORS, in eval mode; random weights."""
    cls, settings = CONSTRUCTORS[kind]
    return cls(inputs, hidden, **settings, **form).eval()


class Rows(nn.Module):
    """A convolution with a norm, whose rows are a recurrent module's steps, and a linear head."""

    def __init__(self, kind: str = "lstm", **form: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.rnn = recurrent(kind, 16, 6, batch_first=True, **form)
        self.head = nn.Linear(
            (self.rnn.proj_size or 6) * (2 if self.rnn.bidirectional else 1), CLASSES
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) to (n, 4)."""
        steps = self.norm(self.conv(x)).relu().permute(0, 2, 1, 3).flatten(2)
        return self.head(self.rnn(steps)[0][:, -1])


class Cells(nn.Module):
    """An LSTM cell that reads rows one by one, and a GRU cell that reads its states."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTMCell(8, 5), nn.GRUCell(5, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) to (n, 4)."""
        state, hidden = None, None
        for row in x.squeeze(1).unbind(1):
            state = self.first(row, state)
            hidden = self.second(state[0], hidden)
        return self.head(hidden)


class Words(nn.Module):
    """Pixels as ids of an embedding, an LSTM over them, and a linear head with a norm."""

    def __init__(self, rows: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(rows, 6, padding_idx=0)
        self.rnn = nn.LSTM(6, 5, batch_first=True)
        self.head, self.norm = nn.Linear(5, CLASSES), nn.BatchNorm1d(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) of values 0..1 to (n, 4)."""
        ids = (x * 255).round().long().flatten(1)[:, :12]
        return self.norm(self.head(self.rnn(self.embed(ids))[0].mean(1)))


class Tied(nn.Module):
    """A language model in small: its head multiplies with the rows that its ids name."""

    def __init__(self, rows: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(rows, 6)
        self.rnn = nn.GRU(6, 6, batch_first=True)
        self.mix, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)
        self.head = nn.Linear(6, rows)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) of values 0..1 to (n, 32)."""
        ids = (x * 31).round().long().flatten(1)[:, :12]
        return self.head(self.norm(self.mix(self.rnn(self.embed(ids))[0][:, -1])))


NETWORKS = {
    "lstm": Rows,
    "gru-both-ways": lambda: Rows("gru", bidirectional=True),
    "cells": Cells,
    "words": Words,
    "tied": Tied,
}
"""Networks by name; each maps images of SHAPE to CLASSES outputs."""


def sequence_net(name: str) -> nn.Module:
    """One of NETWORKS, in eval mode, whose outputs differ from image to image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = NETWORKS[name]()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight.detach()[module.padding_idx].zero_()
    return model.eval()


@cache
def found_in(name: str) -> Found:
    """The layers of one of NETWORKS."""
    return find_layers(sequence_net(name), torch.zeros(1, *SHAPE), name)


WEIGHTS, INPUTS = (2, 4, 8), (4, 8)


def sequence_evaluator(name: str) -> Evaluator:
    """An evaluator of one of NETWORKS on random images."""
    return Evaluator(
        QuantizedModel(sequence_net(name), found_in(name)), small_data(), batch_size=32
    )


def sequence_problem(name: str, evaluator: Evaluator, limits: dict[str, float]) -> Problem:
    """A problem with everything in it: sensitivities and a trainer, whose stages are scored too."""
    found = found_in(name)
    options = make_options(found.spec.layers, WEIGHTS, INPUTS)
    calibration = [x for x, _ in evaluator.calibration]
    images, checkpoints = small_images(96, 4), MemoryCheckpoints()
    setup = Setup(sequence_net(name), found, options, images, calibration, checkpoints)
    trainer = evaluator.trainer = Trainer(setup)

    def sensitivity(kind: str) -> Any:
        return compute_table(kind, evaluator, WEIGHTS, INPUTS)

    return Problem(found.spec, options, Budget(limits), sensitivity, "kl", trainer)
