"""Files of a sink that were landed, and which kind of lander each log has."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "scanned_files",
        sa.Column("source", sa.Text(), nullable=False, comment="root that the paths are relative to"),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False, comment="another one when the file was written again"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="log_partition of its rows; log_offset is a line"),
        sa.Column("lines", sa.BigInteger(), nullable=False, comment="landed ones"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="of these lines, unpacked"),
        sa.Column("digest", sa.Text(), nullable=False, comment="of these bytes: a file that only grew is told by it"),
        sa.Column("rows", sa.BigInteger(), nullable=False, comment="listed in the lake by the last landing"),
        sa.Column("landed_version", sa.BigInteger(), nullable=False),
        sa.Column("landed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "path", name=op.f("pk_scanned_files")),
    )
    landers = op.create_table(
        "landers",
        sa.Column("log", sa.Text(), nullable=False, comment="identity of a log"),
        sa.Column("kind", sa.Text(), nullable=False, comment="log, or scan: what lands it, once and for all"),
        sa.PrimaryKeyConstraint("log", name=op.f("pk_landers")),
    )
    assert landers is not None
    positions = sa.table("positions", sa.column("log", sa.Text()))
    known = sa.select(positions.c.log, sa.literal("log")).distinct()
    op.execute(landers.insert().from_select(["log", "kind"], known))
    op.execute(sa.text("INSERT INTO sequences (name, value) VALUES ('scanned', 0)"))
