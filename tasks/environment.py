"""The settings of this process, out of its environment.

Two known holes of pydantic-settings are closed here: an unknown `CONTRACTCOURT_*` variable (a
typing mistake in a deadline, say) is refused instead of ignored, and no error shows the value
it complains about, since values are often secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ValidationError

from tasks.errors import SettingsError
from tasks.settings import PREFIX, Settings


class _EnvironmentOnly(Settings):
    """What the environment says, whatever an `up` wrote before."""

    reads_endpoints: ClassVar[bool] = False


def load_settings(*, from_endpoints: bool = True, **given: Any) -> Settings:
    """The settings of this process: arguments first, then environment, then endpoints.json.

    Args:
        from_endpoints: False leaves endpoints.json out, as `up` does, which writes it.

    Raises:
        SettingsError: an unknown `CONTRACTCOURT_*` variable, or a value that makes no sense.
    """
    _refuse_unknown_variables(os.environ)
    try:
        return Settings(**given) if from_endpoints else _EnvironmentOnly(**given)
    except ValidationError as error:
        raise SettingsError(_in_plain_words(error)) from None


def secret_variables() -> frozenset[str]:
    """The environment variables whose value is a secret, or holds one."""
    return frozenset(
        str(info.validation_alias or f"{PREFIX}{name.upper()}")
        for name, info in Settings.model_fields.items()
        if not info.repr
    )


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raise SettingsError when a `CONTRACTCOURT_*` variable is none that Settings knows."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} - {
        f"{PREFIX}{name.upper()}" for name in ("database_url", "redis_url", "bitcoind_url")
    }
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsError(
            f"unknown setting {', '.join(unknown)}: correct the name or unset it "
            "(docs/reference/configuration.md has every setting)"
        )


def _in_plain_words(error: ValidationError) -> str:
    lines = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in detail["loc"])
        if name and not name.isupper():
            name = f"{PREFIX}{name.upper()}"
        reason = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {reason}" if name else reason)
    return "; ".join(lines)
