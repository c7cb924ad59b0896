"""The sweeper: rounds that keep what the law wants swept on its way, at the fee it is due.

What goes together and at what rate is law (`contractcourt.sweeping`); here it is signed, tried on
the Bitcoin node, stored and sent. Begin with `round`.
"""
