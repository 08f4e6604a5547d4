"""A stored score that flips to another plausible number is known, whoever reads it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from store import create_run, load_recordings, open_store, points_of, read_points
from store.database.json_text import dump_json, load_json
from store.database.schema import PointRow
from store.health.doctor import findings
from store.runs import checksums, points, queue
from tests.store.fake import SPEC, FakePrepared
from tests.store.test_points import a_point


@pytest.fixture
def held(store):
    run_id = create_run(store, SPEC)
    return run_id, queue.claim(store, "here")[1]


@pytest.fixture
def reported(store, held):
    """A run with a point that was reported, and one that was not."""
    prepared = FakePrepared()
    first, second = a_point(prepared, 0), a_point(prepared, 1)
    points.add_point(store, *held, first)
    points.add_point(store, *held, second)
    tested = prepared.report(first)
    answers = np.packbits(np.arange(tested.test.n) % 3 > 0).tobytes()
    points.add_report(store, *held, replace(tested, test_right=answers), "{}")
    return held[0]


def change(store, number, **values):
    with store.write() as connection:
        connection.execute(update(PointRow).where(PointRow.id == number).values(**values))


def stored(store, number):
    with store.read() as connection:
        query = select(*PointRow.__table__.columns).where(PointRow.id == number)
        return connection.execute(query).one()._mapping


def said(location):
    return {found.subject: (found.verdict, found.words) for found in findings(location)}


def test_what_is_stored_and_reported_has_its_checksum(store, reported):
    found = points_of(store, [reported])
    assert [each.point.test is not None for each in found] == [True, False]
    for each in found:
        row = stored(store, each.id)
        assert row["checksum"] == checksums.checksum(row)
        assert len(row["checksum"]) == 3 * checksums.PART
    assert read_points(store, [reported])[1] == []
    assert len(points.test_right(store, [each.id for each in found])) == 1
    assert said(store.url)["Checksums"] == ("ok", "2 of 2 points have one")


def nudged(scores, name):
    return {**scores, name: scores[name] * 0.999 + 1e-6}


@pytest.mark.parametrize("part", ["search", "test"])
@pytest.mark.parametrize("name", ["kl", "agreement", "accuracy", "loss", "n"])
def test_a_score_that_is_another_plausible_number_is_damaged(store, reported, part, name):
    first = points_of(store, [reported])[0].id
    scores = stored(store, first)[part]
    other = {**scores, "n": scores["n"] + 1} if name == "n" else nudged(scores, name)
    change(store, first, **{part: other})
    kept, aside = read_points(store, [reported])
    assert [each.id for each in kept] == [first + 1]
    assert len(aside) == 1
    assert "not those that were stored, by their checksum" in aside[0]
    verdict, words = said(store.url)["Results"]
    assert verdict == "problem"
    assert f"Point {first} of run {reported}" in words


def test_the_same_for_bits_stages_answers_and_the_checksum_itself(store, reported):
    first, second = points_of(store, [reported])
    kept = dict(stored(store, first.id))
    changes = [
        {"stage": "ptq+tuned"},
        {"allocation": second.point.allocation.to_json()},
        {"checksum": "0" * 48},
        {"checksum": ""},
    ]
    for values in changes:
        change(store, first.id, **values)
        assert [each.id for each in points_of(store, [reported])] == [second.id]
        change(store, first.id, **{name: kept[name] for name in values})
    assert len(points_of(store, [reported])) == 2
    answers = bytearray(kept["test_right"])
    answers[0] ^= 0x80
    change(store, first.id, test_right=bytes(answers))
    assert points.test_right(store, [first.id]) == {}
    assert said(store.url)["Results"][0] == "problem"


def test_points_of_an_older_bitdial_have_none_and_are_read(store, reported):
    first, second = points_of(store, [reported])
    for each in (first, second):
        change(store, each.id, checksum=None)
    assert len(points_of(store, [reported])) == 2
    assert said(store.url)["Checksums"][1] == (
        "0 of 2 points have one; 2 of an older bitdial have none and cannot be checked"
    )


def test_a_report_of_an_older_point_gives_it_no_checksum_of_what_nobody_saw(store, held):
    prepared = FakePrepared()
    point = a_point(prepared)
    points.add_point(store, *held, point)
    [found] = points_of(store, [held[0]])
    change(store, found.id, checksum=None)
    points.add_report(store, *held, prepared.report(point), "{}")
    assert stored(store, found.id)["checksum"] is None
    assert points_of(store, [held[0]])[0].point.test is not None


def test_recorded_points_get_theirs_when_they_are_brought_in(sqlite_store):
    assert load_recordings(sqlite_store) > 0
    with sqlite_store.read() as connection:
        rows = connection.execute(select(*PointRow.__table__.columns).limit(50)).all()
    assert all(row.checksum == checksums.checksum(row._mapping) for row in rows)
    again = open_store(sqlite_store.url)
    numbers = {row.run_id for row in rows}
    assert read_points(again, sorted(numbers))[1] == []
    again.engine.dispose()


scores = st.dictionaries(st.text(max_size=4), st.floats() | st.integers() | st.none(), max_size=4)


@given(scores)
def test_what_was_written_as_json_has_the_checksum_that_it_had(document):
    again = load_json(dump_json(document))
    assert checksums.reported(again, b"x") == checksums.reported(document, b"x")
    written = json.loads(json.dumps(document))  # as SQLite keeps it
    assert checksums.reported(written, None) == checksums.reported(document, None)
