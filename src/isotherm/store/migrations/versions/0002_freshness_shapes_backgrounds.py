"""Freshness per client, shapes of screens, and pictures to draw maps on."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "arrivals",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column(
            "accepted", sa.BigInteger(), nullable=False, comment="the ledger's sum, kept so that it can be polled"
        ),
        sa.Column(
            "last_received_at", sa.BigInteger(), nullable=False, comment="of the newest landed record with events"
        ),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_arrivals")),
    )
    # The ledger knows the hour of receipt only; the next landing tells the moment.
    op.execute(
        "INSERT INTO arrivals (client_id, accepted, last_received_at) SELECT client_id, SUM(events), MAX(hour)"
        " FROM ledger WHERE measure = 'accepted' AND client_id <> '' GROUP BY client_id HAVING SUM(events) > 0"
    )
    op.create_table(
        "screen_shapes",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("screen_id", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False, comment="phone, tablet or desktop, by viewport width"),
        sa.Column("w", sa.Double(), nullable=False, comment="CSS pixels, as the newest batch says"),
        sa.Column("h", sa.Double(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="where w and h come from: region, document or viewport"),
        sa.Column("events", sa.BigInteger(), nullable=False, comment="landed events of batches that say a size"),
        sa.Column(
            "seen_at", sa.BigInteger(), nullable=False, comment="received_at of the batch that w and h come from"
        ),
        sa.PrimaryKeyConstraint("client_id", "screen_id", "device", name=op.f("pk_screen_shapes")),
    )
    op.create_table(
        "backgrounds",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("screen_id", sa.Text(), nullable=False),
        sa.Column("w", sa.Integer(), nullable=False, comment="pixels of the stored image"),
        sa.Column("h", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False, comment="digest of the content"),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "screen_id", name=op.f("pk_backgrounds")),
    )
    op.add_column(
        "dirty",
        sa.Column(
            "oldest_received_at",
            sa.BigInteger(),
            nullable=True,
            comment="of the events that wait; null when not known",
        ),
    )
    op.create_index(op.f("ix_buckets_client_id_version"), "buckets", ["client_id", "version"], unique=False)
