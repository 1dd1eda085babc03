"""When the oldest of the events was received that landed after the newest tile job of their bucket began."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column(
        "dirty",
        sa.Column(
            "next_received_at",
            sa.BigInteger(),
            nullable=True,
            comment="of those that landed since the newest job began; null: none",
        ),
    )
