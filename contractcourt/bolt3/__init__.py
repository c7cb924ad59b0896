"""BOLT 3: keys, scripts, commitments, second-level and closing transactions of a channel.

Builds them from the facts of `contractcourt.channel`, and recognises them on chain by their
scripts. May import `bitcoin/`, `channel`, `units` and `errors`, nothing above; coincurve is used
in `points` and `derivation` alone. Rule ids in comments (B1, T4, H2 ...) are those of the table
of BOLT rules in `docs/`.

Begin with `keys` (what keys a commitment has), then `scripts`, `outputs` and `commitment`.
"""
