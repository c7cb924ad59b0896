"""Both ends of a channel and a court seen from outside, for the demo, the replay and the tests.

`channel` plays a node and its peer with real keys; `client` speaks to a running court.
"""
