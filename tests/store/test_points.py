"""Points, models, tables and configurations come back as they were stored."""

from dataclasses import replace

import numpy as np
import pytest
from alembic import command
from sqlalchemy.exc import IntegrityError

from qcore.errors import InvalidParams, StoreError
from qcore.formats.config import dump_bits
from qcore.judges import CLASSES, parse_judge
from qcore.models.catalog import bundled_spec
from qcore.problem import SensitivityTable
from store import (
    config_text,
    configs,
    create_run,
    delete_config,
    float_point,
    load_table,
    model_facts,
    model_spec,
    open_store,
    points_of,
    save_config,
    save_model,
    save_table,
    tables,
    update_config,
)
from store.database import connect
from store.database.locations import database_url
from store.database.upgrade import bring_up_to_date
from store.runs import points, queue
from tests.store.fake import SPEC, FakePrepared


@pytest.fixture
def prepared():
    return FakePrepared()


@pytest.fixture
def held(store):
    run_id = create_run(store, SPEC)
    return run_id, queue.claim(store, "here")[1]


def a_point(prepared, bits=0):
    options = prepared.problem.options
    allocation = prepared.float_point.allocation
    for name, choices in options.items():
        allocation = allocation.replace(name, choices[min(bits, len(choices) - 1)])
    return next(prepared.score([allocation]))


def test_points_come_back_equal_and_in_order(store, held, prepared):
    first, second = a_point(prepared, 0), a_point(prepared, 1)
    points.add_point(store, *held, first)
    points.add_point(store, *held, second)
    found = points_of(store, [held[0]])
    assert [stored.point for stored in found] == [first, second]
    assert [s.point for s in points_of(store, [held[0]], after_id=found[0].id)] == [second]
    assert points_of(store, []) == []


def test_a_point_is_never_stored_twice(store, held, prepared):
    points.add_point(store, *held, a_point(prepared))
    with pytest.raises(IntegrityError):
        points.add_point(store, *held, a_point(prepared))
    assert len(points_of(store, [held[0]])) == 1


def test_a_report_adds_test_scores_and_a_file_to_the_point(store, held, prepared):
    point = a_point(prepared)
    points.add_point(store, *held, point)
    reported = prepared.report(point)
    text = dump_bits(prepared.config(reported, {}))
    points.add_report(store, *held, reported, text)
    stored = points_of(store, [held[0]])
    assert len(stored) == 1
    assert (stored[0].point, stored[0].has_config) == (reported, True)
    assert config_text(store, stored[0].id) == text


def test_a_tuned_point_is_a_point_of_its_own(store, held, prepared):
    point = a_point(prepared)
    points.add_point(store, *held, point)
    points.add_report(store, *held, prepared.tuned(point), "{}")
    assert {s.point.stage for s in points_of(store, [held[0]])} == {"ptq", "ptq+tuned"}


def test_a_superseded_attempt_stores_no_point(store, held, prepared):
    queue.requeue(store, *held, "lost")
    with pytest.raises(queue.Fenced):
        points.add_point(store, *held, a_point(prepared))
    assert points_of(store, [held[0]]) == []


def test_scores_on_a_window_are_kept_for_the_search_and_shown_to_nobody(store, held, prepared):
    whole = a_point(prepared)
    windows = [replace(whole, images=(start, 64)) for start in (0, 64)]
    for point in (whole, *windows):
        points.add_point(store, *held, point)
    assert [s.point for s in points_of(store, [held[0]])] == [whole]
    every = [s.point for s in points_of(store, [held[0]], windows=True)]
    assert every == [whole, *windows]
    points.add_report(store, *held, prepared.report(whole), "{}")
    assert [s.has_config for s in points_of(store, [held[0]], windows=True)] == [True, False, False]
    with pytest.raises(StoreError, match="search alone"):
        points.add_report(store, *held, windows[0], "{}")


def test_models_come_back_equal(store, prepared):
    assert model_spec(store, "toy") is None
    save_model(store, prepared.model, "toys", prepared.float_point)
    save_model(store, prepared.model, "toys", prepared.float_point)
    assert model_spec(store, prepared.model.name) == prepared.model
    assert float_point(store, prepared.model.name, "toys") == prepared.float_point
    assert float_point(store, prepared.model.name, "others") is None


def test_scores_of_the_float_network_are_of_a_judge(store, prepared):
    old, new = parse_judge("map:measure=pixels"), CLASSES  # what the network has now
    name = prepared.model.name
    save_model(store, prepared.model, "toys", prepared.float_point, old)
    assert float_point(store, name, "toys") is None
    assert float_point(store, name, "toys", old) == prepared.float_point
    untested = replace(prepared.float_point, test=None)
    save_model(store, prepared.model, "toys", untested, new)
    assert float_point(store, name, "toys").test is None  # not the other judge's
    # a run that was queued before the judge was changed ends after it
    save_model(store, prepared.model, "toys", prepared.float_point, old)
    assert float_point(store, name, "toys") == untested
    assert float_point(store, name, "toys", old) is None


def test_test_scores_of_the_float_network_outlive_a_run_that_has_not_reported(store, prepared):
    save_model(store, prepared.model, "toys", prepared.float_point)
    untested = replace(prepared.float_point, test=None)
    save_model(store, prepared.model, "toys", untested)
    assert float_point(store, prepared.model.name, "toys") == prepared.float_point
    other = replace(prepared.model, digest="1" * 64)
    save_model(store, other, "toys", untested)
    assert float_point(store, prepared.model.name, "toys").test is None


def test_tables_come_back_equal(store):
    table = SensitivityTable(
        "gradient",
        "nats",
        {"a": {2: 0.5, 4: 0.1}},
        pairs=np.array([[1.0, 0.5], [0.5, 2.0]]),
        pair_index=(("a", "weight", 2), ("a", "weight", 4)),
        n=8,
    )
    save_table(store, "k", "d" * 64, table)
    save_table(store, "k", "d" * 64, replace(table, n=9))
    found = load_table(store, "k")
    assert found.weight == table.weight
    assert (found.pairs == table.pairs).all()
    assert found.n == 9
    assert [key for key, _ in tables(store, "d" * 64)] == ["k"]
    assert load_table(store, "other") is None


def test_saved_configurations_are_kept_and_deleted(store):
    number = save_config(store, "small", "{}", "for the camera")
    assert [(c.name, c.note, c.text) for c in configs(store)] == [("small", "for the camera", "{}")]
    delete_config(store, number)
    with pytest.raises(StoreError, match=str(number)):
        delete_config(store, number)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_numbers_of_deleted_points_are_never_given_again_after_an_upgrade(empty_location, prepared):
    url = database_url(empty_location)
    old = connect(url)
    bring_up_to_date(old, url, lambda config, _: command.upgrade(config, "0001"))
    values = "'ptq', '{}', '{}', 'cpu', 0"
    with old.execution_options(write=True).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs (id, name, model, spec, state, want, attempt, idle_attempts, beat, "
            "step, total, message, created) VALUES (1, 'r', 'm', '{}', 'done', 'run', 1, 0, 0, 0, "
            "0, '', '')"
        )
        for digest in "abc":
            connection.exec_driver_sql(
                "INSERT INTO points (run_id, digest, stage, allocation, search, device, seconds) "
                f"VALUES (1, '{digest}', {values})"
            )
        connection.exec_driver_sql("DELETE FROM points WHERE digest <> 'a'")
    old.dispose()
    store = open_store(empty_location)
    held = create_run(store, SPEC), queue.claim(store, "here")[1]
    points.add_point(store, *held, a_point(prepared))
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT id FROM points").scalars().all() == [1, 4]
    store.engine.dispose()


def test_answers_image_by_image_come_back_for_reported_points(store, held, prepared):
    point = a_point(prepared)
    points.add_point(store, *held, point)
    right = np.arange(point.search.n) % 3 == 0
    reported = replace(point, test=point.search, test_right=np.packbits(right).tobytes())
    points.add_report(store, *held, reported, "{}")
    other = a_point(prepared, 1)
    points.add_point(store, *held, other)
    ids = [stored.id for stored in points_of(store, [held[0]])]
    found = points.test_right(store, ids)
    assert list(found) == ids[:1]
    assert np.array_equal(found[ids[0]], right)


def test_what_is_said_about_a_configuration_can_be_changed(store):
    kept = save_config(store, " first ", "{}", tags=("small", "fast"), source={"run": 3})
    check = {"passed": True, "wanted": 0.9, "got": 0.9, "n": 100, "at": "2026-01-01T00:00:00"}
    update_config(store, kept, name="second", check=check)
    (found,) = configs(store)
    assert (found.name, found.note, found.tags) == ("second", "", ("small", "fast"))
    assert (dict(found.source), dict(found.check)) == ({"run": 3}, check)
    update_config(store, kept, note="mine", tags=())
    (found,) = configs(store)
    assert (found.note, found.tags, dict(found.check)) == ("mine", (), check)
    with pytest.raises(InvalidParams, match="name"):
        update_config(store, kept, name=" ")
    with pytest.raises(StoreError, match="no saved configuration"):
        update_config(store, kept + 1, note="x")


def test_shipped_facts_are_told_where_what_was_stored_knows_less(store, prepared):
    shipped = bundled_spec("resnet8")
    layers = tuple(replace(layer, tensor="", stream="") for layer in shipped.layers)
    save_model(store, replace(shipped, layers=layers), "fashion-mnist", prepared.float_point)
    assert model_facts(store, "resnet8") == shipped
    # other weights are another network, whatever its name
    other = replace(shipped, layers=layers, digest="0" * 64)
    save_model(store, other, "fashion-mnist", prepared.float_point)
    assert model_facts(store, "resnet8") == other
