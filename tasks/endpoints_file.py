"""DIR/endpoints.json, as a source of settings: where the parts of a running `up` are.

`workers.up.endpoints` writes it. It is asked last, so whatever an argument or a variable gives
stands, and `contractcourt channels` beside a running `up` needs no variable at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic_settings import PydanticBaseSettingsSource

from tasks.errors import SettingsError

DEFAULT_DATA_DIR = Path(".contractcourt")
ENDPOINTS_FILE = "endpoints.json"

# Field of Settings <- key of endpoints.json.
ENDPOINT_KEYS = {
    "database_url": "postgres",
    "redis_url": "redis",
    "bitcoind_url": "bitcoind",
    "gateway_url": "gateway",
    "signer_url": "signer",
    "operator_token": "operator_token",
    "signer_token": "signer_token",
    "seal_key_file": "seal_key_file",
    "webhook_key": "webhook_key",
    "network": "network",
    "allow_private_webhooks": "allow_private_webhooks",
}


class EndpointsFile(PydanticBaseSettingsSource):
    """The last source asked: what a running `up` wrote into the data folder."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Part of the base class; `__call__` answers for all fields at once."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        data_dir = Path(self.current_state.get("data_dir") or DEFAULT_DATA_DIR)
        endpoints = _read_endpoints(data_dir)
        given = self.current_state
        aliases = {
            name: info.validation_alias for name, info in self.settings_cls.model_fields.items()
        }
        return {
            field: endpoints[key]
            for field, key in ENDPOINT_KEYS.items()
            if key in endpoints and field not in given and aliases[field] not in given
        }


def _read_endpoints(data_dir: Path) -> dict[str, str]:
    """The endpoints that `contractcourt up` wrote into `data_dir`; empty when it wrote none.

    Raises:
        SettingsError: the file is there but cannot be read as what `up` writes.
    """
    path = data_dir / ENDPOINTS_FILE
    try:
        endpoints = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path} cannot be read ({type(error).__name__}): run as the user who started "
            "`contractcourt up`, or start it again"
        ) from None
    if not isinstance(endpoints, dict):
        raise SettingsError(f"{path} is not a JSON object: start `contractcourt up` again")
    return endpoints
