"""Alembic's entry: runs on the connection that `store.db` hands over, inside its transaction."""

from alembic import context

from store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
