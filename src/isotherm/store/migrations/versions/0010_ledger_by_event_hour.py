"""The ledger by event hour, its screens in the order in which they are asked for, and what page views lack."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_OF_THE_EVENT = (
    ("accepted", None),
    ("landed", None),
    ("landing_duplicate", None),
    ("dead", None),
    ("no_position", "of the landed ones"),
    ("raw_only", "of the landed ones: kept and never tiled"),
    ("late", "of the landed ones: received after their hour was closed"),
)


def _counts() -> list["sa.Column[int]"]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, comment=comment) for name, comment in _OF_THE_EVENT]


def upgrade() -> None:
    # Nothing has written into these two yet.
    op.drop_table("ledger_screens")
    op.drop_index(op.f("ix_page_views_seen_at"), "page_views")
    op.drop_table("page_views")
    op.create_table(
        "ledger_hours",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, comment="start of the event hour"),
        *_counts(),
        sa.Column("before", sa.BigInteger(), nullable=False, comment="rows landed before event hours were counted"),
        sa.PrimaryKeyConstraint("client_id", "hour", name=op.f("pk_ledger_hours")),
    )
    op.create_table(
        "ledger_screens",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("screen_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, comment="start of the event hour"),
        *_counts(),
        sa.Column("rejected", sa.BigInteger(), nullable=False, comment="by hour of receipt"),
        sa.Column("duplicate", sa.BigInteger(), nullable=False, comment="by hour of receipt"),
        sa.PrimaryKeyConstraint("client_id", "screen_id", "hour", name=op.f("pk_ledger_screens")),
    )
    op.create_table(
        "page_views",
        sa.Column("id", sa.LargeBinary(), nullable=False, comment="16 bytes of client_id and the view's id"),
        sa.Column("sent", sa.BigInteger(), nullable=False, comment="events up to the highest sequence number seen"),
        sa.Column("missing", sa.LargeBinary(), nullable=True, comment="runs of events below that never came"),
        sa.Column("seen_at", sa.BigInteger(), nullable=False, comment="hour of receipt of its newest batch"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page_views")),
    )
    op.create_index(op.f("ix_page_views_seen_at"), "page_views", ["seen_at"])
    # Hours that hold rows already: their equations take these into account.
    zeros = ", ".join("0" for _ in _OF_THE_EVENT)
    names = ", ".join(name for name, _ in _OF_THE_EVENT)
    op.execute(
        f"INSERT INTO ledger_hours (client_id, hour, {names}, before) "
        f"SELECT client_id, hour, {zeros}, MAX(of_format) FROM ("
        " SELECT client_id, hour, format, CAST(SUM(rows) AS BIGINT) AS of_format FROM files"
        " WHERE state = 'listed' GROUP BY client_id, hour, format"
        ") AS listed GROUP BY client_id, hour"
    )
