"""Where lake files lie, and what retention and the archive did last."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("files") as table:
        table.add_column(
            sa.Column(
                "tier",
                sa.Text(),
                nullable=False,
                server_default="hot",
                comment="hot or archive: where the file lies",
            )
        )
    op.create_index(op.f("ix_files_tier_state_hour"), "files", ["tier", "state", "hour"])
    op.create_table(
        "rounds",
        sa.Column(
            "name", sa.Text(), nullable=False, comment="of a work that comes round again: raw, tiles, archive, ..."
        ),
        sa.Column("ran_at", sa.BigInteger(), nullable=False, comment="when it last ended"),
        sa.Column("did_at", sa.BigInteger(), nullable=True, comment="when it last had something to do"),
        sa.Column("did", sa.JSON(), nullable=False, comment="what it did then"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rounds")),
    )
