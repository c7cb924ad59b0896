"""What cases and dockets are made of."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a case or of an event, as it is stored.

    A field that this version does not know was written by a newer one. `codec` says what is made of
    it: whoever only reads goes on without, and whoever stores the record again must not lose it.
    """
