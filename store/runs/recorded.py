"""Results recorded with the shipped code, for a database that has none yet.

They are real runs of a bundled network, made by `python -m benchmarks.dashboard.record`. Each says
in its `origin` when and with which version it was recorded, and any of its points can be measured
again here. They are brought in once: whoever deletes them does not get them back.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from qcore.intact import intact, read_each
from store.database import Store
from store.database.schema import EventRow, ModelRow, PointRow, RunRow, TableRow
from store.runs import checksums, queue
from store.runs.lease import FIGURES

FOLDER = Path(__file__).parents[1] / "recordings"
FORMAT, VERSION = "bitdial-recording", 1
MOST_CONFIG = 500_000
"""Characters of a point's file in a recording; one that holds codes has more and is left out."""

MOST_RECORDING = 128 << 20
"""Bytes that a recording may come to."""

_RUN = ("name", "model", "state", "step", "total", "message", "created", "started", "finished")


def dump_runs(store: Store, run_ids: Sequence[int], origin: str) -> bytes:
    """Some ended runs with all that belongs to them, as one compressed file.

    Args:
        store: Where they are.
        run_ids: Which.
        origin: "recorded on DATE with VERSION", which every page shows with them; runs that were
            brought in from an earlier recording keep their own.
    """
    with store.read() as connection:
        runs = [_dump_run(connection, run_id) for run_id in run_ids]
        # what belongs to other networks goes into their own files
        names, rows = {run["model"] for run in runs}, select(*ModelRow.__table__.columns)
        models = [
            {c.name: getattr(row, c.name) for c in ModelRow.__table__.columns if c.name != "id"}
            for row in connection.execute(rows.where(ModelRow.name.in_(names)))
        ]
        digests, rows = {model["digest"] for model in models}, select(*TableRow.__table__.columns)
        tables = [
            {c.name: getattr(row, c.name) for c in TableRow.__table__.columns}
            for row in connection.execute(rows.where(TableRow.model_digest.in_(digests)))
        ]
    document = {
        "format": FORMAT,
        "version": VERSION,
        "origin": origin,
        "models": models,
        "tables": tables,
        "runs": runs,
    }
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    return gzip.compress(text.encode(), mtime=0)


def _dump_run(connection: Any, run_id: int) -> dict[str, Any]:
    row = connection.execute(select(*RunRow.__table__.columns).where(RunRow.id == run_id)).one()
    out: dict[str, Any] = {name: getattr(row, name) for name in (*_RUN, "spec", "device", "origin")}
    columns = [c for c in PointRow.__table__.columns if c.name not in ("id", "run_id", "checksum")]
    found = select(*columns).where(PointRow.run_id == run_id).order_by(PointRow.id)
    out["points"] = [dict(entry._mapping) for entry in connection.execute(found)]
    for point in out["points"]:
        right = point["test_right"]
        if point["config"] is not None and len(point["config"]) > MOST_CONFIG:
            point["config"] = None
        point["test_right"] = None if right is None else base64.b64encode(right).decode()
    figures = select(EventRow.at, EventRow.text, EventRow.data)
    figures = figures.where(EventRow.run_id == run_id, EventRow.kind == FIGURES)
    out["figures"] = [dict(e._mapping) for e in connection.execute(figures.order_by(EventRow.id))]
    return out


def load_recordings(store: Store, folder: Path = FOLDER) -> int:
    """Bring the shipped recordings into a database that nothing was ever measured into.

    Returns:
        How many runs were brought in; 0 where there was something already.

    A recording that cannot be read is left out, and the log says so.
    """
    documents = read_each(sorted(folder.glob("*.json.gz")), _read)[0]
    count = 0
    with store.write() as connection:
        used = select(ModelRow.id).limit(1), select(RunRow.id).limit(1)
        if any(connection.execute(query).first() is not None for query in used):
            return 0
        for document in documents:
            if document["models"]:
                connection.execute(insert(ModelRow), document["models"])
            if document["tables"]:
                connection.execute(insert(TableRow), document["tables"])
            for run in document["runs"]:
                _load_run(connection, run, run.get("origin") or document["origin"])
                count += 1
    return count


def _read(path: Path) -> dict[str, Any]:
    with intact(f"The recording {path.name}"):
        with gzip.open(path) as stream:
            text = stream.read(MOST_RECORDING + 1)
        if len(text) > MOST_RECORDING:
            raise ValueError(f"it comes to more than {MOST_RECORDING / 1e6:,.0f} MB")
        document = json.loads(text)
        if (document.get("format"), document.get("version")) != (FORMAT, VERSION):
            raise ValueError("it is no recording that this bitdial reads")
        for name in ("models", "tables", "runs"):
            if not isinstance(document[name], list):
                raise TypeError(f"its {name} are no list")
        return dict(document)


def _load_run(connection: Any, run: dict[str, Any], origin: str) -> None:
    values = {name: run[name] for name in (*_RUN, "spec", "device")}
    values |= {"want": "run", "attempt": 1, "idle_attempts": 0, "beat": 0, "origin": origin}
    run_id = connection.execute(insert(RunRow).values(**values)).inserted_primary_key[0]
    queue.log(connection, run_id, "recorded", origin)
    kept = []
    for point in run["points"]:
        right = point["test_right"]
        decoded = None if right is None else base64.b64decode(right)
        values = {**point, "run_id": run_id, "test_right": decoded}
        kept.append({**values, "checksum": checksums.checksum(values)})
    if kept:
        connection.execute(insert(PointRow), kept)
    lines = [{**line, "run_id": run_id, "kind": FIGURES} for line in run["figures"]]
    if lines:
        connection.execute(insert(EventRow), lines)
