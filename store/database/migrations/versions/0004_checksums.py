"""A checksum of each new point's scores; points of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column; every row stays."""
    op.add_column("points", sa.Column("checksum", sa.String(48)))


def downgrade() -> None:
    """Results are never downgraded; keep the copy made before an upgrade instead."""
    raise NotImplementedError("restore the copy that was made before the upgrade")
