"""Points, models, sensitivity tables and saved configurations: facts in, frozen values out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from qcore.allocation import BitAllocation, ModelSpec
from qcore.errors import DataUnavailable, StoreError
from qcore.intact import checked, intact, read_each
from qcore.judges import Judge, read_judge
from qcore.models.cards import card_spec, read_spec
from qcore.models.catalog import BUNDLED_NAMES, bundled_spec, judge_of, read_models
from qcore.problem import Point, Scores, SensitivityTable, window_key, window_of
from store.database import Store, now
from store.database.json_text import all_json
from store.database.schema import ModelRow, PointRow, TableRow
from store.runs import checksums
from store.runs.lease import write_held


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point of a run, as stored.

    Attributes:
        id: Its number; rises in the order points came.
        run_id: Whose it is.
        point: The point itself.
        has_config: Whether its configuration file is ready for download.
    """

    id: int
    run_id: int
    point: Point
    has_config: bool


def point_to_json(point: Point) -> dict[str, Any]:
    """Plain JSON data; `point_from_json` reads it back."""
    return {
        "version": 1,
        "allocation": point.allocation.to_json(),
        "search": asdict(point.search),
        "test": None if point.test is None else asdict(point.test),
        "stage": point.stage,
        "images": window_key(point.images),
        "device": point.device,
        "seconds": point.seconds,
    }


def point_from_json(data: dict[str, Any]) -> Point:
    """Read what `point_to_json` wrote; a row of the table of points, too.

    Raises:
        QcoreError, LookupError, TypeError, ValueError, AttributeError: it was damaged since.
    """
    test = data["test"]
    point = Point(
        allocation=BitAllocation.from_json(data["allocation"], data.get("digest")),
        search=_scores(data["search"]),
        test=None if test is None else _scores(test),
        stage=data["stage"],
        device=data["device"],
        seconds=data["seconds"],
        images=window_of(data.get("images", "")),
    )
    # its scores are checked already, and every one of its bits
    for name in (point.stage, point.device):
        if not isinstance(name, str):
            raise TypeError(f"{name!r:.60} is no name")
    if not isinstance(point.seconds, int | float):
        raise TypeError(f"{point.seconds!r:.60} is no time")
    return point


def _scores(data: Mapping[str, Any]) -> Scores:
    found = checked(Scores(**data))
    if found.n < 0:
        raise ValueError(f"it was scored on {found.n} samples")
    if found.score_error is None and (found.headline < 0 or found.headline > 1):
        raise ValueError(f"{found.headline} is no share of samples")
    return found


def add_point(store: Store, run_id: int, attempt: int, point: Point) -> None:
    """Store a point of a run this attempt holds.

    Raises:
        Fenced: the attempt holds it no longer.
    """
    with store.write() as connection:
        write_held(connection, run_id, attempt, idle_attempts=0)
        connection.execute(insert(PointRow).values(**_columns(run_id, point)))


def _columns(run_id: int, point: Point) -> dict[str, Any]:
    document = point_to_json(point)
    del document["version"]
    digest = point.allocation.digest
    values = {"run_id": run_id, "digest": digest, "test_right": point.test_right, **document}
    return {**values, "checksum": checksums.checksum(values)}


def add_report(store: Store, run_id: int, attempt: int, point: Point, config: str) -> None:
    """Add a point's test scores and configuration file; the point itself where it is new.

    Raises:
        Fenced: the attempt holds the run no longer.
        StoreError: the point was scored on a window of images; such scores are never reported.
    """
    if point.images is not None:
        raise StoreError("A score on some of the images is for the search alone; report none.")
    values = _columns(run_id, point)
    where = and_(
        *(getattr(PointRow, n) == values[n] for n in ("run_id", "stage", "images", "digest"))
    )
    added = {name: values[name] for name in ("test", "test_right")}
    # the search score that is stored keeps its own part; a point of old keeps having none
    own = func.substr(PointRow.checksum, 1, checksums.PART)
    added["checksum"] = own.concat(checksums.reported(**added))
    with store.write() as connection:
        write_held(connection, run_id, attempt, idle_attempts=0)
        done = connection.execute(update(PointRow).where(where).values(config=config, **added))
        if not done.rowcount:
            connection.execute(insert(PointRow).values(config=config, **values))


def points_of(
    store: Store, run_ids: Sequence[int], after_id: int = 0, *, windows: bool = False
) -> list[StoredPoint]:
    """Points of some runs in the order they came.

    Args:
        store: The database.
        run_ids: Whose.
        after_id: Only those after this number.
        windows: Also those scored on a window of the search split. They cannot be compared with
            others and enter no front; only a search that goes on needs them.
    """
    return read_each(_rows(store, run_ids, after_id, windows=windows), read_stored)[0]


def read_points(store: Store, run_ids: Sequence[int]) -> tuple[list[StoredPoint], list[str]]:
    """`points_of` some runs, and why each of their other points cannot be read, of all windows."""
    found, aside = read_each(_rows(store, run_ids, windows=True), read_stored)
    return [each for each in found if each.point.images is None], list(map(str, aside))


def _rows(
    store: Store, run_ids: Sequence[int], after_id: int = 0, *, windows: bool
) -> Sequence[Any]:
    # files and answers image by image are large, and read one at a time
    columns = [c for c in PointRow.__table__.columns if c.name not in ("config", "test_right")]
    query = (
        select(*columns, PointRow.config.is_not(None).label("has_config"))
        .where(PointRow.run_id.in_(list(run_ids)), PointRow.id > after_id)
        .order_by(PointRow.id)
    )
    if not windows:
        query = query.where(PointRow.images == "")
    with store.read() as connection:
        return connection.execute(query).all()


def read_stored(row: Any) -> StoredPoint:
    """A row of points.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"Point {row.id} of run {row.run_id}"):
        all_json(row)
        point = point_from_json(dict(row._mapping))
        if BitAllocation(point.allocation).digest != row.digest:
            raise ValueError("its bits are not those that were measured")
        checksums.check_scores(row._mapping)
    return StoredPoint(row.id, row.run_id, point, bool(row.has_config))


def read_model(row: Any) -> ModelSpec:
    """The layers in a row of models.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"What is known of the layers of {row.name}"):
        all_json(row)
        return read_spec(row.spec)


def read_float(row: Any) -> Point:
    """The float network's scores in a row of models.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"The float scores of {row.name} on {row.data}"):
        all_json(row)
        read_judge(row.float_point.get("judge"))
        return point_from_json(row.float_point)


def read_table(row: Any) -> SensitivityTable:
    """A row of sensitivity tables.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"The sensitivity table {row.key}"):
        all_json(row)
        return checked(SensitivityTable.from_json(row.document))


def config_text(store: Store, point_id: int) -> str | None:
    """Configuration file of a point, or None while it was not reported."""
    with store.read() as connection:
        query = select(PointRow.config).where(PointRow.id == point_id)
        found = connection.execute(query).scalar_one_or_none()
    return found if isinstance(found, str) else None


def test_right(store: Store, point_ids: Sequence[int]) -> dict[int, np.ndarray]:
    """Which test samples some points got right, in the samples' order.

    Where they have no labels: on which of them the point agrees with the float network.

    Returns:
        Point id to bool (n,), n being the point's test samples, or to float32 (n,) where its judge
        gives numbers; points that were not reported, or were reported by a release that did not
        keep this, are absent.
    """
    row = PointRow
    query = select(row.id, row.run_id, row.test, row.test_right, row.checksum).where(
        row.id.in_(list(point_ids)), row.test_right.is_not(None)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    return dict(read_each(rows, read_answers)[0])


def read_answers(row: Any) -> tuple[int, np.ndarray]:
    """What a row of points says of each test sample: its number, and as `test_right`.

    Raises:
        Damaged: it is none any more.
    """
    with intact(f"What point {row.id} of run {row.run_id} answers to each sample"):
        n = _scores(row.test).n
        if len(row.test_right) not in (4 * n, (n + 7) // 8):
            raise ValueError(f"{len(row.test_right):,} bytes are not the answers to {n:,} samples")
        checksums.check_answers(row.checksum, row.test_right)
        return row.id, read_scores(row.test_right, n)


def read_scores(stored: bytes, n: int) -> np.ndarray:
    """Scores sample by sample from `Point.test_right`: bool (n,), or float32 (n,)."""
    if len(stored) == 4 * n:
        return np.frombuffer(stored, "<f4")
    return np.unpackbits(np.frombuffer(stored, np.uint8), count=n).astype(bool)


def save_model(
    store: Store,
    spec: ModelSpec,
    data: str,
    float_point: Point,
    judge: Judge | None = None,
) -> None:
    """Keep the facts about a model and what its float network scores on some data.

    Test scores come with a run's first report; until then those of an earlier run are kept. Scores
    are of a judge: a run that was queued before the network's judge was changed leaves those of
    the judge it has now alone.

    Args:
        store: The database.
        spec: The facts.
        data: Data name.
        float_point: The scores.
        judge: What scored it; None where that is not known.
    """
    document = point_to_json(float_point) | ({} if judge is None else {"judge": judge.to_json()})
    values = {
        "digest": spec.digest,
        "spec": spec.to_json(),
        "float_point": document,
    }
    with store.write() as connection:
        values["at"] = _latest(connection, ModelRow.at)
        where = (ModelRow.name == spec.name) & (ModelRow.data == data)
        query = select(ModelRow.float_point).where(where, ModelRow.digest == spec.digest)
        kept = connection.execute(query).scalar_one_or_none()
        kept = kept if isinstance(kept, Mapping) and "test" in kept else None
        if kept is not None and not _same_judge(kept.get("judge"), judge):
            if judge is not None and judge != judge_of(spec.name):
                return
        elif kept is not None and float_point.test is None:
            values["float_point"] = {**document, "test": kept["test"]}
        if not connection.execute(update(ModelRow).where(where).values(**values)).rowcount:
            connection.execute(insert(ModelRow).values(name=spec.name, data=data, **values))


def _same_judge(stored: Mapping[str, Any] | None, judge: Judge | None) -> bool:
    """Whether scores were stored for a judge; where one is not known it is taken for the other."""
    return stored is None or judge is None or read_judge(stored) == judge


def forget_float(store: Store, name: str) -> None:
    """Forget what a float network scores: it has other weights or another judge from now on."""
    with store.write() as connection:
        connection.execute(delete(ModelRow).where(ModelRow.name == name))


def model_spec(store: Store, name: str) -> ModelSpec | None:
    """Facts about a model, from its last preparation; None if it never was."""
    query = select(ModelRow.name, ModelRow.spec).where(ModelRow.name == name)
    with store.read() as connection:
        rows = connection.execute(query.order_by(ModelRow.at.desc()))
        for row in rows:
            for found in read_each([row], read_model)[0]:
                return found
    return None


def model_facts(store: Store | None, name: str) -> ModelSpec | None:
    """Facts about a model from its latest run, else those shipped with it, else None.

    Args:
        store: The database; None where there is none yet.
        name: Of the model.
    """
    spec = None if store is None else model_spec(store, name)
    if name in BUNDLED_NAMES:
        try:
            shipped = bundled_spec(name)
        except DataUnavailable:
            return spec
        return shipped if spec is None else _knowing(spec, shipped)
    # the user's own may have been replaced since it was last searched
    models = read_models()
    own = card_spec(name) if name in models and models[name].card else None
    return own if spec is None else spec if own is None else _knowing(own, spec)


def _knowing(first: ModelSpec, other: ModelSpec) -> ModelSpec:
    """The first, or the other of the same weights where only that knows what layers share."""
    if first.digest != other.digest or any(layer.tensor for layer in first.layers):
        return first
    return other if any(layer.tensor for layer in other.layers) else first


def float_point(store: Store, name: str, data: str, judge: Judge | None = None) -> Point | None:
    """The float network's scores on some data; None if never measured here by this judge.

    Args:
        store: The database.
        name: Of the network.
        data: Data name.
        judge: Of the runs that it is held against; None is the one the network has now.
    """
    query = select(*ModelRow.__table__.columns).where(ModelRow.name == name, ModelRow.data == data)
    with store.read() as connection:
        row = connection.execute(query).first()
    if row is None or not (found := read_each([row], read_float)[0]):
        return None
    same = _same_judge(row.float_point.get("judge"), judge or judge_of(name))
    return found[0] if same else None


def save_table(store: Store, key: str, model_digest: str, table: SensitivityTable) -> None:
    """Cache a sensitivity table, replacing one of the same key."""
    with store.write() as connection:
        connection.execute(delete(TableRow).where(TableRow.key == key))
        at = _latest(connection, TableRow.at)
        values = {"document": table.to_json(), "model_digest": model_digest, "at": at}
        connection.execute(insert(TableRow).values(key=key, **values))


def damaged_facts(store: Store, model: str) -> list[str]:
    """Why what is known of a model, its layers, float scores or tables, cannot be read."""
    row = ModelRow
    with store.read() as connection:
        found = connection.execute(select(*row.__table__.columns).where(row.name == model)).all()
        of_it = TableRow.model_digest.in_([each.digest for each in found])
        kept = connection.execute(select(TableRow.key, TableRow.document).where(of_it)).all()
    read = ((read_model, found), (read_float, found), (read_table, kept))
    return [str(error) for reader, rows in read for error in read_each(rows, reader)[1]]


def _latest(connection: Connection, column: Any) -> str:
    """The time, or a moment after the latest that is stored: clocks are set back, too."""
    time, latest = now(), connection.execute(select(func.max(column))).scalar()
    try:
        after = datetime.fromisoformat(str(latest)) + timedelta(milliseconds=1)
        return max(time, after.isoformat(timespec="milliseconds"))
    except (TypeError, ValueError, OverflowError):
        return time  # none yet, or damaged


def load_table(store: Store, key: str) -> SensitivityTable | None:
    """A cached table, or None."""
    with store.read() as connection:
        query = select(TableRow.key, TableRow.document).where(TableRow.key == key)
        row = connection.execute(query).first()
    return next(iter(_tables([] if row is None else [row])), (key, None))[1]


def tables(store: Store, model_digest: str) -> list[tuple[str, SensitivityTable]]:
    """Every cached table of a model: (key, table), latest first."""
    query = select(TableRow.key, TableRow.document).where(TableRow.model_digest == model_digest)
    with store.read() as connection:
        rows = connection.execute(query.order_by(TableRow.at.desc())).all()
    return _tables(rows)


def _tables(rows: Sequence[Any]) -> list[tuple[str, SensitivityTable]]:
    # one that is damaged is not known, and measured again
    return read_each(rows, lambda row: (row.key, read_table(row)))[0]
