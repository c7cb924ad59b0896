"""Just enough Bitcoin for the law: transactions, scripts, signature hashes, raw blocks.

Pure bytes in, values out. Begin with `outpoint`, then `transaction`.
"""
