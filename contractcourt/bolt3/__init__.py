"""BOLT 3: keys, scripts, commitments, second-level and closing transactions of a channel.

Builds them from the facts of `contractcourt.channel`, and recognises them on chain by their
scripts. May import `bitcoin/`, `channel`, `units` and `errors`, nothing above; coincurve is used
in `points` and `derivation` alone. Rule ids in comments (B1, T4, H2 ...) are those of
`bolt5_rules.md`, the table of BOLT 2, 3 and 5 rules that the whole law goes by.

Begin with `keys` (what keys a commitment has), then `scripts` and `commitment`.
"""
