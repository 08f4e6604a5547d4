from pages.shared import run_facts
from qcore.searches import SEARCHES
from tests.pages import sample


def test_of_a_search_that_is_not_there_nothing_is_known():
    run = sample.run_of(1, "from-another-version")
    assert not run_facts.is_ladder(run)
    assert not run_facts.is_layer_wise(run)
    assert run_facts.left_stage(run) == ""
    # what it was after must then be equal, as for any other
    assert run_facts.has_aim(run)


def test_only_what_trains_leaves_a_network_and_a_ladder_is_after_nothing():
    runs = [sample.run_of(at, name) for at, name in enumerate(SEARCHES)]
    for run in runs:
        search = SEARCHES[run.spec.search]
        assert search.trains or not run_facts.left_stage(run)
        assert run_facts.left_stage(run) or not run_facts.is_layer_wise(run)
        assert not (run_facts.is_ladder(run) and run_facts.has_aim(run))
    assert any(map(run_facts.is_ladder, runs))
    assert any(map(run_facts.is_layer_wise, runs))
