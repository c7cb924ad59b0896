"""Faults: processes killed at every step, servers restarted, connections cut, a chain that errs."""
