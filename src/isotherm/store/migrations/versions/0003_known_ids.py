"""Batches that were landed, for logs that keep no ids; how far in time each partition is landed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "known_ids",
        sa.Column("id", sa.LargeBinary(), nullable=False, comment="of a batch: 16 bytes of client_id and batch_id"),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "positions", sa.LargeBinary(), nullable=True, comment="landed ones of a batch that was split; null: all"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_ids")),
    )
    op.create_index(op.f("ix_known_ids_received_at"), "known_ids", ["received_at"], unique=False)
    op.add_column(
        "positions",
        sa.Column("received_until", sa.BigInteger(), nullable=True, comment="when the newest landed record came"),
    )
