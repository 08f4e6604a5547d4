"""What the pages compare and keep: answers image by image, where runs and configurations come from.

`verdict` is not called "check": that word is the database's own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; every row stays."""
    op.add_column("points", sa.Column("test_right", sa.LargeBinary))
    op.add_column("runs", sa.Column("origin", sa.String(200), nullable=False, server_default=""))
    op.add_column("configurations", sa.Column("tags", sa.JSON, nullable=False, server_default="[]"))
    op.add_column(
        "configurations", sa.Column("source", sa.JSON, nullable=False, server_default="{}")
    )
    op.add_column("configurations", sa.Column("verdict", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Results are never downgraded; keep the copy made before an upgrade instead."""
    raise NotImplementedError("restore the copy that was made before the upgrade")
