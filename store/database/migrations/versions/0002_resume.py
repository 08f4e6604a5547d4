"""What searches need that cannot be lost: windows of images, checkpoints, slots, figures."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and the table of checkpoints; every row stays.

    Only the table of points is made anew, and only on SQLite, which cannot change a constraint in
    place: nothing refers to points, whereas dropping a table that others refer to would delete
    their rows too.
    """
    op.add_column("runs", sa.Column("pid", sa.Integer))
    op.add_column("runs", sa.Column("device", sa.String(100)))
    op.add_column("events", sa.Column("attempt", sa.Integer))
    op.add_column("events", sa.Column("data", sa.JSON(none_as_null=True)))
    if op.get_bind().dialect.name == "sqlite":
        _new_points()
    else:
        op.add_column(
            "points", sa.Column("images", sa.String(40), nullable=False, server_default="")
        )
        op.drop_constraint("points_run_id_stage_digest_key", "points", type_="unique")
        op.create_unique_constraint(
            "one_point_each", "points", ["run_id", "stage", "images", "digest"]
        )
    op.create_table(
        "checkpoints",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("stage", sa.String(100), primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("path", sa.String(300), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
    )


def _new_points() -> None:
    op.create_table(
        "new_points",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("stage", sa.String(100), nullable=False),
        sa.Column("images", sa.String(40), nullable=False, server_default=""),
        sa.Column("digest", sa.String(16), nullable=False),
        sa.Column("allocation", sa.JSON, nullable=False),
        sa.Column("search", sa.JSON, nullable=False),
        sa.Column("test", sa.JSON(none_as_null=True)),
        sa.Column("device", sa.String(20), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("config", sa.Text),
        sa.UniqueConstraint("run_id", "stage", "images", "digest", name="one_point_each"),
        sqlite_autoincrement=True,
    )
    kept = "id, run_id, stage, digest, allocation, search, test, device, seconds, config"
    op.execute(f"INSERT INTO new_points ({kept}) SELECT {kept} FROM points")
    # numbers of deleted points are never given again
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'new_points'")
    op.execute(
        "INSERT INTO sqlite_sequence (name, seq) "
        "SELECT 'new_points', seq FROM sqlite_sequence WHERE name = 'points'"
    )
    op.drop_table("points")
    op.rename_table("new_points", "points")
    op.create_index("points_by_run", "points", ["run_id", "id"])


def downgrade() -> None:
    """Results are never downgraded; keep the copy made before an upgrade instead."""
    raise NotImplementedError("restore the copy that was made before the upgrade")
