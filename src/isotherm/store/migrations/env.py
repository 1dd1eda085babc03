"""Alembic runs on the connection that `migrate` hands over, inside its transaction."""

import sqlalchemy as sa
from alembic import context
from sqlalchemy.engine import Connection

from isotherm.store.tables import metadata


def order_by_code_point(connection: Connection) -> None:
    """Give every text column of ours the collation "C", so that text has one order on every server and on SQLite."""
    columns = connection.execute(
        sa.text(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
        )
    ).all()
    quote = connection.dialect.identifier_preparer.quote
    for table, column in columns:
        if table in metadata.tables:
            connection.exec_driver_sql(f'ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} TYPE text COLLATE "C"')


connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
if connection.dialect.name == "postgresql":
    order_by_code_point(connection)
