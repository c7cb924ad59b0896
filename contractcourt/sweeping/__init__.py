"""Sweeping: which outputs go together into which transaction, at what fee, and when to pay more.

Pure, like all the law. Begin with `inputs` (what is to be swept), then `curve` (what is offered
for it at a height), `groups` (who travels together) and `drafts` (the unsigned transactions).
Imports only `contractcourt`.
"""
