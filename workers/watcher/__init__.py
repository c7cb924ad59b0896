"""The parts of the chain watcher; `workers/chain_watcher.py` is the process.

`watchlist` knows every watched outpoint, `following` moves the cursor block by block, and
`look_back` finds spends from before an outpoint was watched.
"""
