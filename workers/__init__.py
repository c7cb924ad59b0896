"""Room 4: the long-running processes, the all-in-one `up`, and the command line.

May import every room below (`tasks`, `storage`, `chain`, `contractcourt`). One process each:
`chain_watcher` follows the chain, `gateway` takes the nodes' webhooks, `signer` alone holds
secrets. `process` is one child and how it is started and stopped, `embedded` the servers that
one machine can bring along (Postgres, Redis, a regtest chain), `up` the supervisor over all of
them, `doctor` what is wrong in plain words, and `cli` what people type. Begin with `up/plan.py`:
it lists every process of a court and what each is told.
"""
