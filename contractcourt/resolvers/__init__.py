"""Resolvers: how each kind of contract is won or given up, one small file a kind.

Pure and resumable: a resolver looks at its contract and the present height and says what is
wanted now; asked again it wants the same. Two questions are put to each: `act`, while the output
is unspent, and `hear_spend`, when a transaction took it. What is common to all (who spent it,
how deep) is judged in `arbitrator/contracts.py`.
"""
