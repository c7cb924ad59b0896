"""The schema as numbered Alembic revisions of raw SQL; `storage.migrate` applies them."""
