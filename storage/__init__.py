"""Postgres, which holds the truth: the only room with SQL.

May import `contractcourt` and nothing else of ours. One module per table family; each function
takes the caller's connection, never commits, and leaves the transaction to the caller, so that
one use case is one commit. Functions that end in `_many` take any number of rows in a few
statements; their singular forms are the same with one row.

Begin with `migrations/versions` (what the schema makes impossible), then `database`, `docket`
and `cases`.

Locks are taken in this order, and rows of one table by ascending channel id, so that no two
transactions wait for each other:

    leases, chain_cursor, cases, docket_heads, channels and all that hangs on a channel, outbox

The watcher and the effects append to the docket under `docket_heads` alone: they never wait for
a worker that holds a case.
"""
