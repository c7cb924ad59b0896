"""What a process of the court is told from outside: environment first, then DIR/endpoints.json.

`DATABASE_URL`, `REDIS_URL` and `BITCOIND_URL` carry no prefix, as every host names them so;
everything else is `CONTRACTCOURT_<FIELD>`. A value that the environment does not give is taken
from the `endpoints.json` which `contractcourt up` writes into its data folder, so that
`contractcourt channels` beside a running `up` needs no variable at all.

Here stands what may be told and what fits together; `environment` reads it for this process.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tasks import addresses
from tasks.endpoints_file import DEFAULT_DATA_DIR, ENDPOINTS_FILE, EndpointsFile
from tasks.errors import SettingsError

PREFIX = "CONTRACTCOURT_"
_WEBHOOK_SECRET_PREFIX = "whsec_"

# A task that outlives the broker's visibility timeout is delivered again while it still runs.
# A quarter leaves room for a paused host and a slow acknowledgement (users_ask.md C1).
VISIBILITY_FACTOR = 4
#: A hundred years: Postgres knows no time that is very far away.
LONGEST_OVERLAP_SECONDS = 36_500 * 86_400


class Settings(BaseSettings):
    """Everything a process may be told. All times are seconds, all sizes are bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        frozen=True,
        extra="forbid",
        # docs/reference/configuration.md is made of the string below each field.
        use_attribute_docstrings=True,
    )
    reads_endpoints: ClassVar[bool] = True

    # -- Where the parts are. Fields with repr=False may hold a password. --
    database_url: str | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    """The Postgres that holds the truth: `postgresql://user:password@host:port/database`."""
    redis_url: str | None = Field(None, validation_alias="REDIS_URL", repr=False)
    """The Redis that carries the wake-ups: `redis://:password@host:port/0`."""
    bitcoind_url: str | None = Field(None, validation_alias="BITCOIND_URL", repr=False)
    """JSON-RPC of the Bitcoin node, `http://user:password@host:port`; or without the user part
    together with `bitcoind_cookie_file`."""
    bitcoind_cookie_file: Path | None = None
    """The node's `.cookie`; read again after the node was restarted."""
    bitcoind_rest: Literal["auto", "on", "off"] = "auto"
    """Whether raw blocks are read over REST (`-rest=1` on the node)."""
    bitcoind_zmq_url: str | None = None
    """`tcp://host:port` of `-zmqpubhashblock`; only a hint, the poll below always works."""
    second_bitcoind_url: str | None = Field(None, repr=False)
    """A second Bitcoin node, whose headers are compared with the first one's. While it shows a
    chain with more work that the first one is not on, no block is taken in (decision 0019)."""
    network: Literal["main", "test", "testnet4", "signet", "regtest"] = "regtest"
    """The chain this court serves, in Bitcoin Core's names (`getblockchaininfo`)."""

    database_logins: str | None = Field(None, repr=False)
    """Users of Postgres that `migrate` and `up` make, one a process:
    `watcher=USER:PASSWORD,gateway=...,worker=...,signer=...,reader=...`."""

    # -- The court's own processes --
    data_dir: Path = DEFAULT_DATA_DIR
    """The folder of `contractcourt up`. Its `endpoints.json` gives what no variable gives."""
    gateway_url: str | None = None
    """Where the gateway is reached; `contractcourt doctor` asks it."""
    gateway_host: str = "127.0.0.1"
    """The address that the gateway listens on."""
    gateway_port: int = Field(8080, ge=0, le=65535)
    """The port that the gateway listens on; 0 is any free one."""
    max_body_bytes: int = Field(1_048_576, ge=1024)
    """The largest body of a webhook."""
    node_rate: float = Field(500.0, gt=0)
    """Webhooks a second that one node may send in the long run; ten times as many at once."""
    stranger_rate: float = Field(20.0, gt=0)
    """Refused requests a second from one address, before it is turned away; fifty times at once."""
    operator_token: str | None = Field(None, repr=False, min_length=16)
    """Opens the acting part of the gateway, a force close for example. Unset, that part is shut."""
    viewer_token: str | None = Field(None, repr=False, min_length=16)
    """Opens the looking part of the gateway, when `protect_reads` closes it to all others."""
    protect_reads: bool = False
    """Whether looking needs the viewer's or the operator's token too."""
    signer_url: str | None = None
    """Where workers and gateway reach the signer."""
    signer_host: str = "127.0.0.1"
    """The address that the signer listens on."""
    signer_port: int = Field(8090, ge=0, le=65535)
    """The port that the signer listens on; 0 is any free one."""
    signer_token: str | None = Field(None, repr=False, min_length=16)
    """Whoever asks the signer must show it."""
    seal_key_file: Path | None = None
    """File with the key (64 hex digits) that seals the signer's secrets at rest; the signer
    alone needs it."""
    signer_sweep_scripts: str | None = None
    """The scripts (scriptPubKey in hex, separated by commas) that the signer pays, and no others,
    whatever the database says of its nodes; the signer alone needs it. Unset: each node's own, as
    they stood when they were first paid."""
    webhook_key: str | None = Field(None, repr=False, min_length=32)
    """Any long random text, the same for gateway, workers and command line: seals the nodes'
    webhook secrets at rest. Without it `webhook.key` in the data folder is made and used."""
    allow_private_webhooks: bool = False
    """Allow notify URLs that resolve to private or loopback addresses; `up` does, unless told
    not to."""
    webhook_refusals: int = Field(35, ge=1, le=1000)
    """A webhook that its endpoint refused so often is a dead letter; 35 refusals take a day."""
    operator_webhook_url: str | None = Field(None, repr=False)
    """Where the operator takes alarms, signed with `operator_webhook_secret`."""
    operator_webhook_secret: str | None = Field(None, repr=False, pattern="^whsec_")
    """Signs what goes to `operator_webhook_url`, by the Standard Webhooks scheme: `whsec_` and
    base64 of 24 to 64 random bytes."""

    # -- Rhythm --
    poll_seconds: float = Field(1.0, gt=0, le=60)
    """How often a watcher asks the Bitcoin node for news."""
    lease_seconds: float = Field(3.0, ge=1, le=300)
    """How long a leading watcher that says nothing still leads; another one takes over at most a
    third of it later (decision 0017)."""
    grace_seconds: float = Field(30.0, ge=0, le=600)
    """How long a watcher that has just started holds back what need not be done at once."""
    reconcile_seconds: float = Field(15.0, ge=1, le=3600)
    """How often beat has the tables searched for work whose wake-up was lost."""
    rebroadcast_seconds: float = Field(30.0, ge=1, le=3600)
    """How often our unconfirmed transactions are offered to the Bitcoin node again."""
    archive_seconds: float = Field(300.0, ge=1, le=86_400)
    """How often it is seen whether an old month can leave the docket."""
    secret_overlap_seconds: int = Field(86_400, ge=0, le=LONGEST_OVERLAP_SECONDS)
    """How long a rotated webhook secret of a node stays valid beside the new one."""

    # -- History --
    docket_months: int = Field(2, ge=1, le=1200)
    """Whole months before this one that stay where appends and wake-ups look; a repeated
    idempotency key is known for as long. Older months go to the archive."""
    docket_archive_months: int | None = Field(None, ge=2, le=12_000)
    """Whole months after which an archived month is dropped for good; never unless set. A month is
    kept where one of those after it is missing, as the court, or its clock, passed over it."""
    forget_days: int = Field(30, ge=2, le=36_500)
    """Days after which what is over is deleted beside the docket: effects that were carried out,
    receipts of webhooks, preimages that were told for HTLCs which never came, spent coins of fee
    wallets with what made them, and what would punish old states of channels that are fully
    resolved."""

    # -- Alarms --
    no_block_alarm_seconds: float = Field(10_800.0, ge=60)
    """After so long without a new block an alarm is raised: the node may be cut off from others."""
    docket_alarm_seconds: float = Field(60.0, ge=1)
    """When an event has waited so long to be applied, an alarm is raised: no worker makes progress,
    whatever each one answers when it is asked."""

    # -- Celery --
    worker_concurrency: int = Field(2, ge=1, le=256)
    """Processes of one worker."""
    task_time_limit_seconds: int = Field(30, ge=5)
    """A task that runs longer is killed, and done again."""
    task_soft_time_limit_seconds: int = Field(25, ge=1)
    """A task that runs so long is asked to give up first."""
    visibility_timeout_seconds: int = Field(120, ge=20)
    """After so long Redis gives a task that nobody acknowledged to another worker."""
    max_tasks_per_child: int = Field(10_000, ge=1)
    """A worker's process is replaced after so many tasks."""

    # -- Logs --
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: str | None) -> str | None:
        return addresses.of_postgres(url)

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        return addresses.of(url, "redis", "rediss")

    @field_validator("bitcoind_url", "second_bitcoind_url", "gateway_url", "signer_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        return addresses.of(url, "http", "https")

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Settings:
        if self.task_time_limit_seconds * VISIBILITY_FACTOR > self.visibility_timeout_seconds:
            raise ValueError(
                f"task_time_limit_seconds x {VISIBILITY_FACTOR} must not exceed "
                "visibility_timeout_seconds, or the broker delivers tasks a second time while "
                "they run: lower CONTRACTCOURT_TASK_TIME_LIMIT_SECONDS or raise "
                "CONTRACTCOURT_VISIBILITY_TIMEOUT_SECONDS"
            )
        if (self.operator_webhook_url is None) != (self.operator_webhook_secret is None):
            raise ValueError(
                f"{PREFIX}OPERATOR_WEBHOOK_URL and {PREFIX}OPERATOR_WEBHOOK_SECRET go together: "
                "set both, or neither"
            )
        if self.operator_webhook_secret is not None:
            _check_webhook_secret(self.operator_webhook_secret)
        if self.task_soft_time_limit_seconds >= self.task_time_limit_seconds:
            raise ValueError(
                "task_soft_time_limit_seconds must be below task_time_limit_seconds: "
                "lower CONTRACTCOURT_TASK_SOFT_TIME_LIMIT_SECONDS"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Neither .env files nor secret folders: one way to set a thing is enough."""
        del dotenv_settings, file_secret_settings
        endpoints = (EndpointsFile(settings_cls),) if cls.reads_endpoints else ()
        return init_settings, env_settings, *endpoints

    @property
    def required_database_url(self) -> str:
        """`database_url`. Raises SettingsError when nothing gives it."""
        return self._required("database_url", "DATABASE_URL")

    @property
    def required_redis_url(self) -> str:
        """`redis_url`. Raises SettingsError when nothing gives it."""
        return self._required("redis_url", "REDIS_URL")

    @property
    def required_bitcoind_url(self) -> str:
        """`bitcoind_url`. Raises SettingsError when nothing gives it."""
        return self._required("bitcoind_url", "BITCOIND_URL")

    @property
    def required_signer_url(self) -> str:
        """`signer_url`. Raises SettingsError when nothing gives it."""
        return self._required("signer_url", f"{PREFIX}SIGNER_URL")

    @property
    def required_signer_token(self) -> str:
        """`signer_token`. Raises SettingsError when nothing gives it."""
        return self._required("signer_token", f"{PREFIX}SIGNER_TOKEN")

    @property
    def required_seal_key_file(self) -> Path:
        """`seal_key_file`. Raises SettingsError when nothing gives it."""
        return Path(self._required("seal_key_file", f"{PREFIX}SEAL_KEY_FILE"))

    def _required(self, field: str, variable: str) -> str:
        value = getattr(self, field)
        if value is None:
            raise SettingsError(
                f"{variable} is not set and {self.data_dir / ENDPOINTS_FILE} does not give it: "
                f"set {variable}, or start `contractcourt up` and pass its --data-dir"
            )
        return str(value)


def _check_webhook_secret(secret: str) -> None:
    """Raise ValueError unless it signs: what does not would end every letter to the operator."""
    try:
        size = len(base64.b64decode(secret.removeprefix(_WEBHOOK_SECRET_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not 24 <= size <= 64:
        raise ValueError(
            f"{PREFIX}OPERATOR_WEBHOOK_SECRET must be {_WEBHOOK_SECRET_PREFIX} and base64 of 24 to "
            f"64 random bytes: echo {_WEBHOOK_SECRET_PREFIX}$(openssl rand -base64 32) makes one"
        )
