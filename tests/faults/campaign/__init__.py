"""The fault campaign, `make faults`: channels with every kind of close before a court in a storm.

`cast` says who plays, `play` what happens and when, `storm` what goes wrong meanwhile, `miner`
makes the chain, `judge` compares the ends with those of the same acts without a fault, `report`
prints it. Begin with `play`.
"""
