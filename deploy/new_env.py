"""Prints a fresh .env for docker-compose.yml: python3 deploy/new_env.py > .env

Only the standard library. Keep the file secret and back it up; a second run makes other
passwords, which the existing volumes do not accept.
"""

from __future__ import annotations

import secrets

NAMES = (
    "POSTGRES_PASSWORD",
    "WATCHER_DATABASE_PASSWORD",
    "GATEWAY_DATABASE_PASSWORD",
    "WORKER_DATABASE_PASSWORD",
    "SIGNER_DATABASE_PASSWORD",
    "REDIS_PASSWORD",
    "BITCOIND_PASSWORD",
    "CONTRACTCOURT_OPERATOR_TOKEN",
    "CONTRACTCOURT_SIGNER_TOKEN",
    "CONTRACTCOURT_WEBHOOK_KEY",
)


def main() -> None:
    for name in NAMES:
        print(f"{name}={secrets.token_urlsafe(32)}")
    print(f"FLOWER_BASIC_AUTH=operator:{secrets.token_urlsafe(24)}")


if __name__ == "__main__":
    main()
