"""Views of Bitcoin: a node over Core's RPC, and the devnet, which answers the same calls.

May import the law, nothing else of ours. Begin with `view`, the interface, and `bitcoin_core`,
which implements it; `core_answers` reads what a node answers, and `refusals` sorts what it says of
a transaction; `readiness` says what keeps a node from serving the court; `hints` and `filters`
save waiting and reading, and nothing rests on them; `consensus` is the last check before a
transaction is published.
"""
