"""The law in memory: thousands of cases, no process, no socket."""
