"""Benches: each figure a ratio against a floor measured in the same run. Never asserted.

`python -m bench` runs them all at sizes that end in a few minutes, `python -m bench updates` one.
`--full` takes the sizes of the promises, `updates.count=50000` any other, `--keep` writes what was
found to `bench/results`. A bench is a module with `run(**sizes)`, its `FULL` sizes beside it.
"""
