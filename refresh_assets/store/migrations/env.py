"""Alembic's entry: runs the migrations on the connection that provision.py hands over.

Here: the version table's own name and schema. Not here: the migrations (versions/), creating the platform's tables."""

from alembic import context

from refresh_assets.store.schema import ours

config = context.config
connection = config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=ours,
    version_table="refresh_alembic_version",
    version_table_schema=config.attributes["schema"],
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
