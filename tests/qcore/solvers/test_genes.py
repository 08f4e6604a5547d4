"""Choices as vectors of width indices."""

import dataclasses

import numpy as np
import pytest

from qcore.allocation import LayerBits
from qcore.solvers.genes import genes_of
from qcore.solvers.space import space_of
from tests.helpers import toy_problem


def test_uneven_widths_are_neighbours():
    genes = genes_of(space_of(toy_problem(2, (2, 4, 8), (4, 8)).problem))
    assert [(g.decision, g.tensors[0][1], g.widths) for g in genes.genes] == [
        (0, "weight", (2, 4, 8)),
        (0, "activation", (4, 8)),
        (1, "weight", (2, 4, 8)),
        (1, "activation", (4, 8)),
    ]
    assert genes.sizes.tolist() == [3, 2, 3, 2]
    chosen = genes.space.allocation(genes.choice([2, 0, 1, 1]))
    assert chosen["layer0"] == LayerBits(8, 4)
    assert chosen["layer1"] == LayerBits(4, 8)


def test_pinned_layers_have_no_genes():
    genes = genes_of(space_of(toy_problem(4, (2, 3), pin_first_last=8).problem))
    assert [g.decision for g in genes.genes] == [1, 2]


def test_every_choice_survives_the_way_there_and_back():
    space = space_of(toy_problem(2, (2, 4, 8), (2, 3)).problem)
    genes = genes_of(space)
    for first in range(6):
        for second in range(6):
            assert genes.choice(genes.vector([first, second])).tolist() == [first, second]


@pytest.mark.parametrize(("value", "bits"), [(-3.0, 2), (0.4, 2), (0.6, 4), (9.0, 8)])
def test_values_are_rounded_and_clipped(value, bits):
    genes = genes_of(space_of(toy_problem(2, (2, 4, 8)).problem))
    assert genes.space.allocation(genes.choice([value, 0]))["layer0"].weight == bits


def test_holes_in_the_grid_go_to_the_nearest_option():
    toy = toy_problem(2, (2, 8), (2, 8))
    options = dict.fromkeys(
        toy.problem.model.names, (LayerBits(2, 2), LayerBits(3, 4), LayerBits(4, 8))
    )
    genes = genes_of(space_of(dataclasses.replace(toy.problem, options=options)))
    chosen = genes.space.allocation(genes.choice([2, 1, 0, 0]))
    # (4, 4) is not allowed; one step away are (3, 4) and (4, 8)
    assert chosen["layer0"] in {LayerBits(3, 4), LayerBits(4, 8)}
    assert chosen["layer1"] == LayerBits(2, 2)


def test_mean_bits_average_widths_not_indices():
    genes = genes_of(space_of(toy_problem(2, (2, 4, 8)).problem))
    means = genes.mean_bits(np.array([[0, 2], [2, 2]]), "weight")
    assert means == {"layer0": 5.0, "layer1": 8.0}
    assert genes.mean_bits(np.array([[0, 2]]), "activation") == {}
