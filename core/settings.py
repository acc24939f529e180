"""Typed settings from the environment: the only reader of it.

With none set, everything is embedded under `./var`. Names: `TOCSIN_` and the field; nested fields after two
underscores, as in `TOCSIN_MQTT__HOST`.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import InvalidInput

Port = Annotated[int, Field(ge=0, le=65535)]


class BadSettings(InvalidInput):
    """A setting is wrong."""


class MqttSettings(BaseModel):
    """The broker that ingest listens to."""

    host: str | None = None  #: none: an embedded broker is started
    port: Port = 1883
    username: str | None = None
    password: SecretStr | None = None
    tls_ca: Path | None = None  #: certificate authority; set it to speak TLS
    client_id: str = "tocsin-ingest"
    session_expiry_s: int = Field(default=7 * 86400, ge=0)


class IngestSettings(BaseModel):
    """How readings are batched and checked."""

    batch_rows: int = Field(default=5000, ge=1, le=50_000)
    batch_ms: int = Field(default=250, ge=1, le=60_000)
    max_message_bytes: int = Field(default=64 * 1024, ge=256)
    clock_skew_s: float = Field(default=120.0, ge=0)
    spool_max_bytes: int = Field(default=2 * 1024**3, ge=1024**2)
    metrics_port: Port | None = None


class ApiSettings(BaseModel):
    """Where the console and the API are served."""

    host: str = "127.0.0.1"
    port: Port = 8000
    public_url: str | None = None  #: the address that links in messages carry; default http://host:port
    pool_size: int = Field(default=8, ge=1, le=100)
    session_hours: float = Field(default=12.0, gt=0)
    trusted_proxies: list[str] = Field(default_factory=list)  #: addresses whose X-Forwarded-For is believed


class DeliverSettings(BaseModel):
    """Channels. One that has no settings is off; a database made for exercises may use only the fake provider."""

    smtp_host: str | None = None
    smtp_port: Port = 587
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_from: str = "warnings@localhost"
    smtp_starttls: bool = True
    webhook_secret: SecretStr | None = None
    webpush_vapid_private_key: SecretStr | None = None
    webpush_subject: str = "mailto:warnings@localhost"
    webpush_hosts: list[str] = Field(
        default_factory=lambda: [
            "fcm.googleapis.com",
            "updates.push.services.mozilla.com",
            "web.push.apple.com",
            "notify.windows.com",
        ]
    )
    fake_url: str | None = None  #: the fake provider, for exercises and tests
    webpush_processes: int = Field(default=1, ge=1, le=32)  #: that encrypt, about 300 pushes a second each
    sms_url: str | None = None  #: a vendor's gateway: see alerts/channels/phone.py
    sms_token: SecretStr | None = None
    sms_from: str = "Tocsin"
    sms_honours_keys: bool = False
    sms_links: Literal["gsm7", "always", "never"] = "gsm7"
    voice_url: str | None = None
    voice_token: SecretStr | None = None
    voice_honours_keys: bool = False
    callback_secret: SecretStr | None = None  #: signs what providers report; none: nothing is taken
    siren_key: SecretStr | None = (
        None  #: Ed25519, 32 bytes in base64url; sirens hang on the broker of TOCSIN_MQTT__HOST
    )
    escalate_s: float = Field(
        default=30.0, gt=0, le=3600
    )  #: push, text message, call: how long each waits for an answer
    auto_release_people: int = Field(default=500, ge=0)  #: above this audience two people must release
    workers: int = Field(default=4, ge=1, le=64)
    processes: int | None = Field(default=None, ge=1, le=32)  #: that send; none: one a core (see tocsin/senders.py)


class CapSettings(BaseModel):
    """CAP messages: how ours are signed, and what is asked of others'."""

    signing_key: Path | None = None  #: PEM file with a private key; none: our messages go out unsigned
    signing_certificate: Path | None = None  #: PEM file with its certificate
    sources: Path | None = None  #: JSON file of policies by sender


class Settings(BaseSettings):
    """All of Tocsin's settings."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", env_nested_delimiter="__", extra="forbid")

    home: Path = Path("var")
    database_url: SecretStr | None = None  #: owner's URL; none: an embedded PostgreSQL is started
    database_worker_url: SecretStr | None = None  #: login of role tocsin_worker; none: the owner's URL and SET ROLE
    database_app_url: SecretStr | None = None  #: login of role tocsin_app; none: the owner's URL and SET ROLE
    mode: Literal["live", "exercise"] = "live"
    secret_key: SecretStr | None = None  #: signs links; none: made once and kept under `home`
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    deliver: DeliverSettings = Field(default_factory=DeliverSettings)
    cap: CapSettings = Field(default_factory=CapSettings)
    test_data: Path = Path("../shared/data")
    test_timescale_url: SecretStr | None = None
    test_postgres_url: SecretStr | None = None
    chromium: str | None = None
    basemap: str = "bundled"  #: bundled, pmtiles:<url or path>, or style:<url>
    basemap_attribution: str = ""  #: who made that basemap, shown on the map
    supervisor_pid: int | None = None  #: set by the supervisor for the processes it starts: they end with it
    supervisor_started: float | None = None
    ui: Literal["auto", "skip", "require"] = "auto"


def _variables(model: type[BaseModel], prefix: str) -> dict[str, type[BaseModel] | None]:
    """Environment variables of a settings model, and the nested model where one holds more."""
    found: dict[str, type[BaseModel] | None] = {}
    for name, info in model.model_fields.items():
        kind = info.annotation
        nested = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        found[f"{prefix}{name.upper()}"] = nested
        if nested is not None:
            found.update(_variables(nested, f"{prefix}{name.upper()}__"))
    return found


def setting_names() -> list[str]:
    """Every environment variable that Tocsin reads."""
    return sorted(name for name, nested in _variables(Settings, "TOCSIN_").items() if nested is None)


def load_settings() -> Settings:
    """Settings as the environment has them; raises BadSettings naming the variable and the reason."""
    known = _variables(Settings, "TOCSIN_")
    for name in os.environ:
        if name.startswith("TOCSIN_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise BadSettings(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        return Settings()
    except ValidationError as error:
        told = "; ".join(
            f"TOCSIN_{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise BadSettings(f"A setting is wrong: {told}") from error
