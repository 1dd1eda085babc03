"""Alembic runs on the connection that `migrate` hands over, inside its transaction."""

from alembic import context

from isotherm.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
