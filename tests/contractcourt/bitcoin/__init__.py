"""Transactions, scripts, signature hashes and blocks."""
