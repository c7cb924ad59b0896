"""What storage can refuse, rooted in `ContractCourtError`. Database errors pass as psycopg's."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class StorageError(ContractCourtError):
    """Storage could not do what was asked."""


class ForkedPool(StorageError):
    """This pool was opened by another process; open one after the fork (users_ask C11)."""


class NodeExists(StorageError):
    """A node of this name is registered already; its name is its identity."""


class UnknownNode(StorageError):
    """No node of this name is registered; run `contractcourt node add`."""


class UnknownChannel(StorageError):
    """No channel with this id is registered."""


class StaleCase(StorageError):
    """Another worker stored this case since it was read; read it again."""


class UnreadableRecord(StorageError):
    """A case or a docket entry is of a version that this one can't read; let the newer one work."""


class Fenced(StorageError):
    """The lease has another epoch by now: this process no longer leads and must not write."""


class CursorMismatch(StorageError):
    """This block does not follow the chain cursor."""


class BrokenDocket(StorageError):
    """A docket's entries do not hash to what its head says."""


class MigrationLocked(StorageError):
    """Another migrator, or whoever uses a table, was in the way for too long; try again later."""


class OldPostgres(StorageError):
    """Postgres is of a version that lacks what the schema needs; use a later one."""


class WrongEncoding(StorageError):
    """The database does not hold UTF-8; one made with `ENCODING 'UTF8'` is needed."""


class InvalidIndexes(StorageError):
    """The schema holds indexes that Postgres marks as invalid; drop and build them again."""


class RolesMissing(StorageError):
    """The cluster lacks a role of the court's; let a user with CREATEROLE migrate."""


class WrongSealKey(StorageError):
    """A sealed record does not open: the seal key is another one, or the record was altered."""


class SealKeyFileError(StorageError):
    """The seal key file cannot be used."""
