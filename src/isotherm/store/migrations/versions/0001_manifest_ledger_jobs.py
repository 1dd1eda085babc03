"""Manifest, ledger and tile jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "buckets",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="of the job that published it"),
        sa.Column("manifest_version", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("maps", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False, comment="raw rows behind the bucket"),
        sa.Column("tiled", sa.BigInteger(), nullable=False, comment="of these, events counted in a cell"),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("cost_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "provenance", sa.JSON(), nullable=False, comment="offset ranges with row hashes, or children's versions"
        ),
        sa.PrimaryKeyConstraint("level", "start", "client_id", name=op.f("pk_buckets")),
    )
    op.create_index(op.f("ix_buckets_client_id_level_start"), "buckets", ["client_id", "level", "start"], unique=False)
    op.create_table(
        "dirty",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="drawn when the mark was set"),
        sa.Column("marked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("level", "start", "client_id", name=op.f("pk_dirty")),
    )
    op.create_table(
        "files",
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the lake's root"),
        sa.Column("state", sa.Text(), nullable=False, comment="pending, listed or delisted"),
        sa.Column("format", sa.Text(), nullable=False, comment="parquet or jsonl"),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, comment="start of the event hour"),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("min_time", sa.BigInteger(), nullable=True),
        sa.Column("max_time", sa.BigInteger(), nullable=True),
        sa.Column("row_hash", sa.Text(), server_default="", nullable=False, comment="order-free hash of all rows"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("listed_version", sa.BigInteger(), nullable=True),
        sa.Column("delisted_version", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_state_hour_client_id"), "files", ["state", "hour", "client_id"], unique=False)
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "ledger",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, comment="hour of receipt"),
        sa.Column("measure", sa.Text(), nullable=False, comment="accepted, rejected, duplicate, landed, ..."),
        sa.Column("reason", sa.Text(), nullable=False, comment="empty, or the reason the measure is split by"),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "hour", "measure", "reason", name=op.f("pk_ledger")),
    )
    op.create_table(
        "positions",
        sa.Column("log", sa.Text(), nullable=False, comment="identity of the log that the offsets belong to"),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False, comment="the lander's compare-and-set"),
        sa.PrimaryKeyConstraint("log", "partition", name=op.f("pk_positions")),
    )
    op.create_table(
        "sequences",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sequences")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "file_ranges",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_offset", sa.BigInteger(), nullable=False, comment="inclusive"),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("row_hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["path"], ["files.path"], name=op.f("fk_file_ranges_path_files"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("path", "log", "partition", "first_offset", name=op.f("pk_file_ranges")),
    )
    op.execute("INSERT INTO sequences (name, value) VALUES ('version', 0)")
