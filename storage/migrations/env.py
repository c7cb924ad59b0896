"""Alembic's entry: runs the revisions on the connection that `storage.migrate` hands over.

All of them run in that connection's one transaction: a migrator killed in the middle leaves
nothing behind.
"""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    on_version_apply=context.config.attributes["on_version_apply"],
)
context.run_migrations()
