"""Points, models, tables and configurations come back as they were stored."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from qcore.config import dump_bits
from qcore.errors import StoreError
from qcore.problem import SensitivityTable
from store import (
    config_text,
    configs,
    create_run,
    delete_config,
    float_point,
    load_table,
    model_spec,
    points,
    points_of,
    queue,
    save_config,
    save_model,
    save_table,
    tables,
)
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


def test_models_come_back_equal(store, prepared):
    assert model_spec(store, "toy") is None
    save_model(store, prepared.model, "toys", prepared.float_point)
    save_model(store, prepared.model, "toys", prepared.float_point)
    assert model_spec(store, prepared.model.name) == prepared.model
    assert float_point(store, prepared.model.name, "toys") == prepared.float_point
    assert float_point(store, prepared.model.name, "others") is None


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
