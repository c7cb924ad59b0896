"""The Celery app and its tasks. Thin: load, ask the law, store, carry out.

May import `storage`, `chain` and the law. Redis carries only wake-ups: every task can be lost,
doubled or late, because what it does stands in Postgres and `reconcile` finds it there.

Begin with `arbitration` (a use case without Celery), then `verdicts`, `carrying_out` and
`effect_rows`, then `app`.
"""
