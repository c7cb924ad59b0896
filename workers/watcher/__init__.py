"""The parts of the chain watcher; `workers/chain_watcher.py` is the process.

`leadership` holds the lease, `watchlist` knows every watched outpoint, `following` moves the
cursor block by block, `look_back` finds spends from before an outpoint was watched, and
`unreadable` is what is done about a block that can't be read.
"""
