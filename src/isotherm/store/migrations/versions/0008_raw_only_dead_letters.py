"""Lake files whose rows are kept and never tiled, and what became of dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("files") as table:
        table.add_column(
            sa.Column(
                "raw_only",
                sa.Boolean(),
                nullable=False,
                server_default=sa.false(),
                comment="its rows are kept and never tiled",
            )
        )
    op.create_index(
        "ix_files_raw_only",
        "files",
        ["hour"],
        sqlite_where=sa.text("raw_only = 1"),
        postgresql_where=sa.text("raw_only"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("log", sa.Text(), nullable=False, comment="identity of a log of dead letters"),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="replayed or dropped; one that is not here is waiting"),
        sa.Column("accepted", sa.BigInteger(), nullable=False, server_default="0", comment="by the last replay"),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log", "partition", "offset", name=op.f("pk_dead_letters")),
    )
