"""The arbitrator: how one case moves, split by what it decides.

`hearing` gathers one verdict; `machine` holds lnd's states and triggers; `updates` takes in what
the node says of the channel; `classification` names a spend of the funding output; `closes` and
`splices` follow such spends; `contracts`, `following` and `spends` follow the outputs of a
confirmed commitment; `htlcs` decides for HTLCs. Begin with `machine`.
"""
