"""What is running, on what, and what is degraded."""

import shutil
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from api.pages import STATIC
from api.version import VERSION
from core.errors import TocsinError
from core.settings import Settings
from store import embedded, maintain
from store.pool import connect_worker
from tocsin.process import NoSignOfLife, check_sign_of_life
from tocsin.services import PROCESSES

Verdict = Literal["ok", "degraded", "off", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part, how it is, and why."""

    part: str
    verdict: Verdict
    told: str
    detail: dict[str, Any] = field(default_factory=dict)


def examine(settings: Settings) -> list[Finding]:
    """Looks at each part from outside; changes nothing."""
    return [
        Finding(part="tocsin", verdict="ok", told=f"version {VERSION}, mode {settings.mode}, home {settings.home}"),
        _database(settings),
        _broker(settings),
        *(_process(settings, name) for name in PROCESSES),
        _api(settings),
        _pages(),
        _cap(settings),
        *_feeds(settings),
        _disk(settings.home),
    ]


def _database(settings: Settings) -> Finding:
    if settings.database_url is None and settings.database_worker_url is None:
        try:
            url = embedded.attach(settings.home).url(settings.mode, "worker")
        except TocsinError as error:
            return Finding(part="database", verdict="off", told=f"embedded; {error}")
        where = "embedded"
    else:
        secret = settings.database_worker_url or settings.database_url
        assert secret is not None
        url, where = secret.get_secret_value(), "configured"
    try:
        with connect_worker(url) as conn:
            health = maintain.sizes_and_health(conn)
    except TocsinError as error:
        return Finding(part="database", verdict="broken", told=f"{where}; {error}")
    told = f"{where}, {'TimescaleDB' if health.engine == 'timescale' else 'plain PostgreSQL'}"
    told += f", {'exercise' if health.exercise else 'live'}, {health.database_bytes / 1e6:,.0f} MB"
    if health.problems:
        told += "; " + " ".join(health.problems)
    return Finding(
        part="database",
        verdict="degraded" if health.problems else "ok",
        told=told,
        detail={
            "outbox_waiting": health.outbox_waiting,
            "dead_letters": health.dead_letters,
            "rollup_backlog": health.rollup_backlog,
            "readings": [asdict(table) for table in health.readings],
        },
    )


def _broker(settings: Settings) -> Finding:
    if settings.mqtt.host is None:
        has = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
        told = "embedded: mosquitto" if has else "embedded: the built-in broker, which keeps no messages over a crash"
        return Finding(part="broker", verdict="ok" if has else "degraded", told=told)
    try:
        with socket.create_connection((settings.mqtt.host, settings.mqtt.port), timeout=3):
            return Finding(part="broker", verdict="ok", told=f"{settings.mqtt.host}:{settings.mqtt.port} answers")
    except OSError as error:
        return Finding(
            part="broker",
            verdict="broken",
            told=f"{settings.mqtt.host}:{settings.mqtt.port} does not answer: {error.strerror or error}",
        )


def _process(settings: Settings, name: str) -> Finding:
    try:
        age_s = check_sign_of_life(settings, name)
    except NoSignOfLife as error:
        gone = "last_s_ago" in error.facts
        told = f"last sign of life {error.facts['last_s_ago']} s ago" if gone else "never ran here"
        return Finding(part=name, verdict="off", told=told)
    return Finding(part=name, verdict="ok", told=f"last sign of life {age_s:.0f} s ago")


def _api(settings: Settings) -> Finding:
    import httpx

    url = f"http://{settings.api.host}:{settings.api.port}/v1/ready"
    try:
        answer = httpx.get(url, timeout=3, trust_env=False)
    except httpx.HTTPError:
        return Finding(part="console", verdict="off", told=f"nothing answers at {url}")
    return Finding(
        part="console", verdict="ok" if answer.status_code == 200 else "degraded", told=f"{url}: {answer.status_code}"
    )


def _cap(settings: Settings) -> Finding:
    from alerts.cap_sign import BadSigningKey, read_signer

    try:
        signer = read_signer(settings.cap.signing_key, settings.cap.signing_certificate)
    except BadSigningKey as error:
        return Finding(part="cap", verdict="broken", told=error.message)
    if signer is None:
        return Finding(
            part="cap", verdict="off", told="our messages go out unsigned: TOCSIN_CAP__SIGNING_KEY is not set"
        )
    return Finding(part="cap", verdict="ok", told=f"signed by {signer.certificate.subject.rfc4514_string()}")


def _feeds(settings: Settings) -> list[Finding]:
    """How old what others' feeds brought is; nothing where none is on or the database is away, which is told above."""
    import asyncio

    from ingest import feeds
    from store.pool import connect_worker_async, worker_url

    async def read() -> list[feeds.FeedRow]:
        if settings.database_url is None and settings.database_worker_url is None:
            url = embedded.attach(settings.home).url(settings.mode, "worker")
        else:
            url = worker_url(settings)
        conn = await connect_worker_async(url)
        try:
            return await feeds.find(conn)
        finally:
            await conn.close()

    try:
        rows = [row for row in asyncio.run(read()) if row.enabled]
    except TocsinError:
        return []
    now = datetime.now(UTC)
    late = [row.code for row in rows if row.as_json(now)["stale"]]
    told = f"{len(rows)} on, {len(late)} older than three intervals" + (f": {', '.join(late[:5])}" if late else "")
    return [Finding(part="feeds", verdict="degraded" if late else "ok", told=told)] if rows else []


def _pages() -> Finding:
    if (STATIC / "index.html").is_file():
        return Finding(part="pages", verdict="ok", told="the front end is built")
    return Finding(part="pages", verdict="degraded", told="the front end is not built: run `pip install -e .` again")


def _disk(home: Path) -> Finding:
    folder = home if home.exists() else home.absolute().parent
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:,.1f} GB free under {home}"
    return Finding(part="disk", verdict="ok" if free > 2e9 else "degraded", told=told)
