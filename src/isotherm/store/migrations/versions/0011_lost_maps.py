"""Which published maps went with a damaged part of the tile store."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    with op.batch_alter_table("buckets") as table:
        table.add_column(
            sa.Column(
                "lost_version",
                sa.BigInteger(),
                nullable=True,
                comment="maps of this version and older went with a damaged part",
            )
        )
