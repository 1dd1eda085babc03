"""Files of a sink whose last line ended in the middle when they were landed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("scanned_files") as table:
        table.add_column(
            sa.Column(
                "torn",
                sa.Boolean(),
                nullable=False,
                server_default=sa.false(),
                comment="its last line ended in the middle then",
            )
        )
