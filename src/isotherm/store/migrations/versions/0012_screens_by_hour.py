"""The ledger of screens is asked by hour: a client may have very many screens."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_index("ix_ledger_screens_client_id_hour", "ledger_screens", ["client_id", "hour"])
