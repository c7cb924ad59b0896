"""The law: what must happen to a Lightning channel on chain, decided without touching anything.

Pure: no socket, clock, database, randomness or environment; bytes and facts in, values out. It
imports nothing of ours and only coincurve and msgspec of others.

Begin with `case` (what is known of one channel), `events` (what can happen), `effects` (what can
be wanted) and `advance`, which ties them together. `bitcoin/` and `bolt3/` are the building
blocks, `arbitrator/` the decisions.
"""
