"""A first visit can begin with an image network or with another one."""

import pytest

from pages.shared.text import literal
from qcore.models.catalog import EXAMPLES, network_title
from store.runs.recorded import load_recordings
from tests.pages import sample


def offered(at):
    """What the choice of examples says, and which is chosen; None where there is no choice."""
    found = [group for group in at.segmented_control if group.label == "Example"]
    return (list(found[0].options), found[0].value) if found else None


@pytest.mark.parametrize("chosen", EXAMPLES[1:])
def test_the_examples_are_offered_and_each_leads_to_its_results(app, store, chosen):
    load_recordings(store)
    at = app()
    assert offered(at) == (["Fashion-MNIST", "Machine vibrations", "Verses"], EXAMPLES[0])
    (group,) = [group for group in at.segmented_control if group.label == "Example"]
    group.set_value(chosen).run()
    assert not at.exception
    assert at.title[0].value == literal(network_title(chosen))
    assert at.session_state["model"] == chosen
    assert any("recorded on" in caption.value for caption in at.caption)


@pytest.mark.parametrize("name", EXAMPLES)
def test_they_are_offered_before_anything_was_recorded_too(app, store, name):
    assert offered(app(model=name))[1] == name


def test_they_go_once_something_was_measured_here_and_other_networks_have_none(app, store):
    assert offered(app(model="resnet20")) is None
    sample.add_run(store, "uniform", [sample.point(sample.uniform(4), 900)])
    assert offered(app()) is None
