"""The ledger by screen and page view, what was verified, and what was retired by retention."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "ledger_screens",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, comment="start of the event hour"),
        sa.Column("screen_id", sa.Text(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("landed", sa.BigInteger(), nullable=False),
        sa.Column("landing_duplicate", sa.BigInteger(), nullable=False),
        sa.Column("dead", sa.BigInteger(), nullable=False),
        sa.Column("no_position", sa.BigInteger(), nullable=False, comment="of the landed ones"),
        sa.Column("raw_only", sa.BigInteger(), nullable=False, comment="of the landed ones: kept and never tiled"),
        sa.PrimaryKeyConstraint("client_id", "hour", "screen_id", name=op.f("pk_ledger_screens")),
    )
    op.create_table(
        "page_views",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("view_id", sa.Text(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False, comment="events up to the highest sequence number seen"),
        sa.Column("seen_at", sa.BigInteger(), nullable=False, comment="received_at of its newest batch"),
        sa.PrimaryKeyConstraint("client_id", "view_id", name=op.f("pk_page_views")),
    )
    op.create_index(op.f("ix_page_views_seen_at"), "page_views", ["seen_at"])
    op.create_table(
        "verifications",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column(
            "finding", sa.Text(), nullable=False, comment="same, dirty, frozen or different: of the last comparison"
        ),
        sa.Column("version", sa.BigInteger(), nullable=True, comment="of the published bucket that was compared"),
        sa.Column("hash", sa.Text(), nullable=True, comment="that the raw events gave"),
        sa.Column("detail", sa.Text(), nullable=False, server_default=""),
        sa.Column("verified_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("level", "start", "client_id", name=op.f("pk_verifications")),
    )
    op.create_index(op.f("ix_verifications_client_id_level_start"), "verifications", ["client_id", "level", "start"])
    op.create_table(
        "retired",
        sa.Column("what", sa.Text(), nullable=False, comment="raw, or hour, day, week: tiles of that level"),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False, comment="start of the hour or bucket"),
        sa.Column(
            "rows", sa.BigInteger(), nullable=False, comment="raw rows that were there, or stood behind the tiles"
        ),
        sa.Column("tiled", sa.BigInteger(), nullable=False, comment="of these, counted in a cell; 0 for raw"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="of the files; 0 for tiles"),
        sa.Column("hash", sa.Text(), nullable=False, server_default="", comment="published one of the tiles"),
        sa.Column("retired_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", "client_id", "start", name=op.f("pk_retired")),
    )
