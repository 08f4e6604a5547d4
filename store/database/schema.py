"""The tables. Facts only: costs, fronts and error bars are derived from them."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Declarative base of every table."""

    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 - SQLAlchemy's own convention


class Bytes(LargeBinary):
    """Bytes as they are stored; none where something else stands in their place.

    SQLite keeps whatever was written into a column, and one number where bytes should be must not
    keep a page from reading all other rows.
    """

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """What turns a stored value into bytes."""
        return lambda value: value if value is None or isinstance(value, bytes) else b""


class ModelRow(Base):
    """A model that was prepared on some data, and what its float network scores there."""

    __tablename__ = "models"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    data: Mapped[str] = mapped_column(String(1000))
    digest: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]
    float_point: Mapped[dict[str, Any]]
    at: Mapped[str] = mapped_column(String(40))
    __table_args__ = (UniqueConstraint("name", "data"),)


class RunRow(Base):
    """One search on one problem. `attempt` is the fencing token of whoever works on it.

    `origin` is "" for what was measured here, else where its points were recorded.
    """

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    model: Mapped[str] = mapped_column(String(200), index=True)
    spec: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20), index=True)
    want: Mapped[str] = mapped_column(String(20), default="run")
    attempt: Mapped[int] = mapped_column(default=0)
    idle_attempts: Mapped[int] = mapped_column(default=0)
    beat: Mapped[int] = mapped_column(default=0)
    host: Mapped[str | None] = mapped_column(String(200))
    pid: Mapped[int | None]
    device: Mapped[str | None] = mapped_column(String(100))
    step: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    created: Mapped[str] = mapped_column(String(40))
    started: Mapped[str | None] = mapped_column(String(40))
    finished: Mapped[str | None] = mapped_column(String(40))
    origin: Mapped[str] = mapped_column(String(200), default="", server_default="")
    # numbers of deleted runs are never given again: caches and logs go by them
    __table_args__ = ({"sqlite_autoincrement": True},)


class PointRow(Base):
    """One scored allocation of a run; `config` is its configuration file once reported.

    `test_right` then says which test images it named right, one bit each.

    `images` is the window of the search split, "start+count"; "" is all of it.

    `checksum` is that of its scores, see `store.runs.checksums`; points of old have none.
    """

    __tablename__ = "points"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    stage: Mapped[str] = mapped_column(String(100))
    images: Mapped[str] = mapped_column(String(40), default="", server_default="")
    digest: Mapped[str] = mapped_column(String(16))
    allocation: Mapped[dict[str, Any]]
    search: Mapped[dict[str, Any]]
    test: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    device: Mapped[str] = mapped_column(String(20))
    seconds: Mapped[float]
    config: Mapped[str | None] = mapped_column(Text)
    test_right: Mapped[bytes | None] = mapped_column(Bytes)
    checksum: Mapped[str | None] = mapped_column(String(48))
    __table_args__ = (
        UniqueConstraint("run_id", "stage", "images", "digest", name="one_point_each"),
        Index("points_by_run", "run_id", "id"),
        {"sqlite_autoincrement": True},
    )


class TableRow(Base):
    """A cached sensitivity table."""

    __tablename__ = "sensitivity_tables"
    key: Mapped[str] = mapped_column(String(400), primary_key=True)
    model_digest: Mapped[str] = mapped_column(String(64), index=True)
    document: Mapped[dict[str, Any]]
    at: Mapped[str] = mapped_column(String(40))


class EventRow(Base):
    """The history of a run: words to read, and for kind "figures" numbers to plot."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    at: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int | None]
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class CheckpointRow(Base):
    """A file with the state of a training stage after an epoch."""

    __tablename__ = "checkpoints"
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(100), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    path: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    versions: Mapped[dict[str, Any]]
    at: Mapped[str] = mapped_column(String(40))


class ConfigurationRow(Base):
    """A configuration the user saved.

    `source` says where it came from, `verdict` what its last re-measurement found.
    """

    __tablename__ = "configurations"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[str] = mapped_column(String(40))
    tags: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    source: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    verdict: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
