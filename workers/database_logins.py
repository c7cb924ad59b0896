"""Users of Postgres, one for each process of the court: named, made, and put into its URL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from storage import roles
from storage.roles import Role
from tasks.errors import SettingsError
from tasks.settings import PREFIX

_FORM = "PROCESS=USER:PASSWORD, separated by commas"


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """Who logs in as the process of a role."""

    role: Role
    user: str
    password: str = field(repr=False)

    def url(self, url: str) -> str:
        """The database of `url`, as this user."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{user}@{host}"))


def parse_logins(text: str) -> tuple[DatabaseLogin, ...]:
    """What `CONTRACTCOURT_DATABASE_LOGINS` says. Raises SettingsError without showing any of it."""
    logins = []
    for word in filter(None, map(str.strip, text.split(","))):
        process, equals, login = word.partition("=")
        user, colon, password = login.partition(":")
        role = Role.__members__.get(process.strip().upper())
        if role is None or not (equals and colon and user and password):
            processes = ", ".join(name.lower() for name in Role.__members__)
            raise SettingsError(
                f"{PREFIX}DATABASE_LOGINS is not {_FORM}; the processes are {processes}"
            )
        logins.append(DatabaseLogin(role, user, password))
    return tuple(logins)


def put_logins(url: str, logins: Iterable[DatabaseLogin]) -> None:
    """Make these users in the cluster of `url`, or give them these passwords.

    Raises:
        RolesMissing: the roles were never made.
        psycopg.Error: Postgres refused; whoever migrates may not make users, say.
    """
    with psycopg.connect(url) as conn:
        for login in logins:
            roles.put_login(conn, login.role, login.user, login.password)


def missing_roles(url: str) -> tuple[Role, ...]:
    """The roles that the migrator could not make."""
    with psycopg.connect(url) as conn:
        return roles.missing(conn)
