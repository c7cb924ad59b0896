"""Views of Bitcoin: a node over Core's RPC, and the devnet, which answers the same calls.

May import the law, nothing else of ours. Begin with `bitcoin_core`; `refusals` sorts what a node
says of a transaction; `consensus` is the last check before one is published.
"""
