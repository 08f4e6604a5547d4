"""Every search on networks that read sequences, with their real scores and their real training."""

import dataclasses

import pytest

from qcore.engine import drive
from qcore.searches import SEARCHES
from tests.sequence_nets import found_in, sequence_evaluator, sequence_problem
from tests.variants import crossed

ALONE = [name for name, search in SEARCHES.items() if search.standalone]
"""Searches that need nothing of another run."""


def short(search):
    """Its parameters, with as little training as it takes."""
    values = dict(search.quick)
    for field in dataclasses.fields(search.params):
        if "epochs" in field.name and field.default:
            values[field.name] = 1
        elif field.name in ("epoch_images", "window", "validation_images", "slack_images"):
            values[field.name] = 32
    return search.read_params(values)


@pytest.mark.parametrize(("network", "name"), crossed(("lstm", "words", "tied"), ALONE))
def test_it_ends_with_measured_points_within_the_budget(name, network):
    evaluator = sequence_evaluator(network)
    spec = found_in(network).spec
    limits = {"weight_bytes": sum(layer.weights for layer in spec.layers) / 2}
    problem = sequence_problem(network, evaluator, limits)
    search = SEARCHES[name]
    outcome = drive(
        search,
        problem,
        short(search),
        0,
        score=evaluator.score,
    )
    assert outcome.points
    for point in outcome.points:
        point.allocation.check_names(spec.layers)
        assert 0 <= point.search.kl < 10
