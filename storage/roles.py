"""What each process may do in Postgres: one group role each, and no more than it needs.

The migrator makes the roles (NOLOGIN) and keeps their grants to what stands here; whoever logs in
as a process is a member of one. A role belongs to the whole cluster, and other databases may have
made it already. Where the migrator may not make roles everything works under the one user of
DATABASE_URL (docs/decisions/0021-one-role-for-each-process.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

from psycopg import sql

from storage.database import Connection
from storage.errors import RolesMissing


class Role(StrEnum):
    """The group roles by the process that each is for; the reader is for people and dashboards."""

    WATCHER = "contractcourt_watcher"
    GATEWAY = "contractcourt_gateway"
    WORKER = "contractcourt_worker"
    SIGNER = "contractcourt_signer"
    READER = "contractcourt_reader"


#: Whoever lets the law judge: the workers, and the gateway at the door of the docket.
_JUDGING = {
    "alarms": "SELECT INSERT UPDATE",
    "blocks": "SELECT",
    "broadcast_inputs": "SELECT",
    "broadcasts": "SELECT",
    "cases": "SELECT INSERT UPDATE",
    "chain_cursor": "SELECT",
    "channel_htlcs": "SELECT INSERT DELETE",
    "channel_resolutions": "SELECT INSERT UPDATE DELETE",
    "channels": "SELECT INSERT UPDATE(state)",
    "contracts": "SELECT INSERT UPDATE DELETE",
    "dead_letters": "SELECT INSERT UPDATE",
    "deadlines": "SELECT INSERT UPDATE DELETE",
    "docket": "SELECT INSERT",
    "docket_heads": "SELECT INSERT UPDATE",
    "docket_history": "SELECT",
    "fee_wallet_coins": "SELECT",
    "fee_wallet_parents": "SELECT",
    "fee_wallet_scripts": "SELECT",
    "force_closes": "SELECT INSERT UPDATE",
    "node_secrets": "SELECT",
    "nodes": "SELECT",
    "outbox": "SELECT INSERT",
    "revoked_states": "SELECT INSERT",
    "spends": "SELECT",
    "sweep_inputs": "SELECT INSERT UPDATE",
    "sweep_rounds": "SELECT INSERT UPDATE",
    # Its triggers count in the owner's name.
    "tallies": "SELECT",
    "told_preimages": "SELECT INSERT",
    "unapplied": "SELECT INSERT DELETE",
    "watches": "SELECT INSERT UPDATE",
    "webhook_endpoints": "SELECT INSERT UPDATE",
}

#: What no onlooker needs.
_SECRET = {"node_secrets", "told_preimages"}
_FACTS = sorted(_JUDGING.keys() - _SECRET)
#: What only people look at, beside what is judged.
_LOOKED_AT = ("docket_archive", "docket_checkpoints", "fencings", "leases", "webhook_receipts")

#: Table by table, what a role may do; UPDATE(column) is that column alone.
GRANTS: Mapping[Role, Mapping[str, str]] = {
    Role.WATCHER: {
        **dict.fromkeys(_FACTS, "SELECT"),
        "alarms": "SELECT INSERT UPDATE",
        "blocks": "SELECT INSERT UPDATE DELETE",
        "broadcasts": "SELECT UPDATE(state)",
        "chain_cursor": "SELECT INSERT UPDATE",
        "deadlines": "SELECT DELETE",
        "docket": "SELECT INSERT",
        "docket_heads": "SELECT UPDATE",
        "fee_wallet_coins": "SELECT INSERT UPDATE DELETE",
        "fee_wallet_parents": "SELECT INSERT",
        "fee_wallet_scripts": "SELECT UPDATE(scanned)",
        "fencings": "SELECT INSERT",
        "leases": "SELECT INSERT UPDATE",
        # A trigger writes it when an alarm is raised or cleared.
        "outbox": "SELECT INSERT",
        "spends": "SELECT INSERT UPDATE",
        "sweep_rounds": "SELECT INSERT UPDATE",
        "unapplied": "SELECT INSERT",
        "watches": "SELECT UPDATE(looked_back)",
    },
    Role.GATEWAY: {
        **_JUDGING,
        "leases": "SELECT",
        "webhook_receipts": "SELECT INSERT",
    },
    Role.WORKER: {
        **_JUDGING,
        "broadcast_inputs": "SELECT INSERT",
        "broadcasts": "SELECT INSERT UPDATE",
        # For the doctor alone: a worker's host is where every part can be asked.
        "leases": "SELECT",
        "nodes": "SELECT UPDATE(policy_told_to,policy_told_at)",
        "outbox": "SELECT INSERT UPDATE DELETE",
        "tallies": "SELECT INSERT UPDATE DELETE",
    },
    Role.SIGNER: {
        "channels": "SELECT",
        "fee_wallet_scripts": "SELECT INSERT",
        "nodes": "SELECT",
        "sealed_secrets": "SELECT INSERT",
        "signed_commitments": "SELECT INSERT",
    },
    Role.READER: dict.fromkeys(sorted({*_FACTS, *_LOOKED_AT}), "SELECT"),
}
#: Which schema a database has is no secret, and readiness asks for it.
_ALL = {"alembic_version": "SELECT"}

#: Room on the docket is made by who appends to it; its owner's function does no more.
MAY_MAKE_PARTS = """
    SELECT has_function_privilege(%(role)s, 'make_docket_part(date)', 'EXECUTE')
"""
LET_MAKE_PARTS = "GRANT EXECUTE ON FUNCTION make_docket_part(date) TO {role}"

CREATE_ROLE = """
    DO $$ BEGIN
        CREATE ROLE {role} NOLOGIN;
    EXCEPTION
        -- Another database's migrator was first; or we may not, and `missing` will say so.
        WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
    END $$
"""
PRESENT_ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%(names)s)"
PRESENT_GRANTS = """
    SELECT r.rolname, c.relname, a.privilege_type, NULL
    FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE c.relnamespace = current_schema()::regnamespace AND r.rolname = ANY(%(names)s)
    UNION ALL
    SELECT r.rolname, c.relname, a.privilege_type, t.attname
    FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid
    CROSS JOIN LATERAL aclexplode(t.attacl) AS a
    JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE c.relnamespace = current_schema()::regnamespace AND r.rolname = ANY(%(names)s)
"""
SCHEMA = "SELECT current_schema(), has_schema_privilege(%(role)s, current_schema(), 'USAGE')"

_PRIVILEGE = re.compile(r"(\w+)(?:\(([\w,]+)\))?")

Grant = tuple[str, str, str, str | None]


def establish(conn: Connection) -> None:
    """Make the roles that are missing, and the grants of all of them what stands in `GRANTS`.

    A role that may not be made is left out, `missing` names it. Hold the migration lock.
    """
    for role in missing(conn):
        conn.execute(sql.SQL(CREATE_ROLE).format(role=sql.Identifier(role)))
    absent = missing(conn)
    present = _present_grants(conn)
    for role in Role:
        wanted = set(_wanted(role))
        if role not in absent and wanted != {one for one in present if one[0] == role}:
            _grant_anew(conn, role)
    if Role.WORKER not in absent:
        _let_make_parts(conn, Role.WORKER)


def missing(conn: Connection) -> tuple[Role, ...]:
    """The roles that this cluster does not have."""
    names = {row[0] for row in conn.execute(PRESENT_ROLES, {"names": list(Role)})}
    return tuple(role for role in Role if role not in names)


def put_login(conn: Connection, role: Role, name: str, password: str) -> None:
    """A user that logs in with `password` and may do what `role` may; an older one is changed.

    Only a SCRAM verifier of the password goes to the server, so none of its logs can show it.

    Raises:
        RolesMissing: the migrator was not allowed to make `role`.
        psycopg.errors.InsufficientPrivilege: we may not make users, or not members of `role`.
    """
    if role in missing(conn):
        raise RolesMissing(
            f"Postgres has no role {role}: run `contractcourt migrate` as a user with CREATEROLE"
        )
    verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    known = conn.execute(PRESENT_ROLES, {"names": [name]}).fetchone()
    conn.execute(
        sql.SQL("{verb} ROLE {name} LOGIN PASSWORD {verifier}").format(
            verb=sql.SQL("ALTER" if known else "CREATE"),
            name=sql.Identifier(name),
            verifier=sql.Literal(verifier.decode()),
        )
    )
    conn.execute(
        sql.SQL("GRANT {role} TO {name}").format(
            role=sql.Identifier(role), name=sql.Identifier(name)
        )
    )


def _wanted(role: Role) -> Iterator[Grant]:
    for table, privileges in {**_ALL, **GRANTS[role]}.items():
        for privilege, columns in _PRIVILEGE.findall(privileges):
            for column in columns.split(","):
                yield role, table, privilege, column or None


def _present_grants(conn: Connection) -> set[Grant]:
    return {
        (name, table, privilege, column)
        for name, table, privilege, column in conn.execute(PRESENT_GRANTS, {"names": list(Role)})
    }


def _let_make_parts(conn: Connection, role: Role) -> None:
    if conn.execute(MAY_MAKE_PARTS, {"role": role}).fetchone() == (False,):
        conn.execute(sql.SQL(LET_MAKE_PARTS).format(role=sql.Identifier(role)))


def _grant_anew(conn: Connection, role: Role) -> None:
    [(schema, usable)] = conn.execute(SCHEMA, {"role": role}).fetchall()
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(role)}
    if not usable:
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}").format(**names))
    conn.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}").format(**names))
    for table, privileges in {**_ALL, **GRANTS[role]}.items():
        listed = ", ".join(
            f"{privilege} ({columns})" if columns else privilege
            for privilege, columns in _PRIVILEGE.findall(privileges)
        )
        conn.execute(
            sql.SQL("GRANT {privileges} ON {schema}.{table} TO {role}").format(
                privileges=sql.SQL(listed), table=sql.Identifier(table), **names
            )
        )
