"""Benches: each figure a ratio against a floor measured in the same run. Never asserted.

`python -m bench` runs them all; `python -m bench block_scan` one. The last line is JSON.
"""
