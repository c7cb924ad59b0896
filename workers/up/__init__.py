"""`contractcourt up`: a whole court on one machine, and the supervisor over its processes.

May import all of `workers` except `cli`, and the rooms below. `plan` lists every process and
what each is told, `secrets` keeps the passwords and tokens of one data folder, `probes` ask
each part whether it is ready, `supervisor` starts, watches, restarts and stops, `endpoints`
tells others where the parts are, `summary` tells people. Begin with `plan`, then `court`,
which puts them together.
"""

from workers.up.court import run

__all__ = ["run"]
