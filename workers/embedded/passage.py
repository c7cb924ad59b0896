"""Let one account pass through our folders to its own, without opening them to anybody else.

Postgres refuses to run as root, so under root it runs as another account; its data folder and
its binary may lie below folders that only root may enter (`/root`, the 0700 folders of mktemp).
A POSIX ACL entry `user:<account>:--x` on each of those lets exactly this account through: it
can neither list nor read them, and no other account gains anything. Where the file system has
no ACLs, the search bit for others (`o+x`) is set instead.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

from workers.process import Account

_ACL_NAME = "system.posix_acl_access"
_ACL_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_SEARCH = 1

Entry = tuple[int, int, int]
"""(tag, permission bits, id) as the kernel's xattr holds it."""


def allow_passage(path: Path, account: Account) -> list[Path]:
    """Make every folder above `path` passable for `account`; return those that were changed.

    Raises OSError when a folder is not ours to change.
    """
    changed = []
    for folder in path.resolve().parents:
        if not _may_enter(folder, account):
            _let_through(folder, account)
            changed.append(folder)
    return changed


def _may_enter(folder: Path, account: Account) -> bool:
    acl = read_acl(folder)
    named = [perm for tag, perm, id_ in acl if tag == _USER and id_ == account.uid]
    if named:
        mask = next((perm for tag, perm, _ in acl if tag == _MASK), 7)
        return bool(named[0] & mask & _SEARCH)
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _let_through(folder: Path, account: Account) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    entries = read_acl(folder) or [
        (_USER_OBJ, mode >> 6 & 7, _NO_ID),
        (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
        (_OTHER, mode & 7, _NO_ID),
    ]
    try:
        os.setxattr(folder, _ACL_NAME, _pack(_with_search(entries, account.uid)))
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        folder.chmod(mode | stat.S_IXOTH)


def _with_search(entries: list[Entry], uid: int) -> list[Entry]:
    kept = [e for e in entries if not (e[0] == _USER and e[2] == uid) and e[0] != _MASK]
    kept.append((_USER, _SEARCH, uid))
    mask = 0
    for tag, perm, _ in kept:
        if tag in (_USER, _GROUP_OBJ, _GROUP):
            mask |= perm
    kept.append((_MASK, mask, _NO_ID))
    return sorted(kept, key=lambda entry: (entry[0], entry[2]))


def read_acl(folder: Path) -> list[Entry]:
    """The folder's ACL entries; empty when it has none beyond its mode."""
    try:
        raw = os.getxattr(folder, _ACL_NAME)
    except OSError:
        return []
    return [(tag, perm, id_) for tag, perm, id_ in struct.iter_unpack("<HHI", raw[4:])]


def _pack(entries: list[Entry]) -> bytes:
    return struct.pack("<I", _ACL_VERSION) + b"".join(struct.pack("<HHI", *e) for e in entries)
