"""Alembic's entry: runs on the connection that `store.database` hands over, in its transaction."""

from alembic import context

from store.database.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
