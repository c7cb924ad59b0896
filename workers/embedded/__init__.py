"""Servers that one machine can bring along: Postgres, Redis and a regtest chain.

May import `workers.process` and the rooms below. Each module prepares its data folder once and
answers with the `Program` that runs it and the URL that reaches it; starting, watching and
stopping is the supervisor's work (`workers/up`). All listen on loopback only, on ports that
were free a moment ago (`ports.py`), behind a password made for this data folder. Begin with
`postgres.py`, the most demanding of them: it refuses to run as root.
"""
