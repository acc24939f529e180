"""The product as a set of processes: database, broker, and Tocsin's own, started together and ended together."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from alerts.links import secret_key
from core.errors import Unavailable
from core.log import get_logger
from core.settings import Settings
from store import embedded
from store.migrate import migrate
from tocsin import broker as brokers
from tocsin.supervisor import AlreadyRunning, Supervisor

log = get_logger("services")

Mode = Literal["live", "exercise"]

_GUARDIAN_S = 90.0

#: Tocsin's own processes, in the order they start.
PROCESSES = ("ingest", "watch", "jobs", "deliver", "api", "feeds")

#: What the drill runs: its world is made up, so nobody else's feeds are asked.
DRILL_PROCESSES = tuple(name for name in PROCESSES if name != "feeds")

#: Warnings go out without these: where one ends again and again it is tried again, and the others run on.
SPARE = frozenset({"feeds"})


class ProcessKeepsEnding(Unavailable):
    """A process ends again and again."""


@dataclass(slots=True, kw_only=True)
class Urls:
    """Where the database is, for each role."""

    owner: str
    worker: str
    app: str


@dataclass(slots=True)
class Services:
    """What runs now."""

    settings: Settings
    mode: Mode
    home: Path
    supervisor: Supervisor
    urls: Urls
    env: dict[str, str]
    notices: list[str] = field(default_factory=list)
    server: embedded.EmbeddedServer | None = None
    broker: brokers.Broker | None = None

    def start_processes(self, names: tuple[str, ...] = PROCESSES) -> None:
        """Starts Tocsin's own processes, and the guardian that ends everything should we be killed."""
        self.supervisor.start("guardian", ["guardian"], self.env)
        for name in names:
            # Only the jobs process gets the owner's login: it makes partitions and drops old ones.
            owner = {"TOCSIN_DATABASE_URL": self.urls.owner} if name == "jobs" else {}
            self.supervisor.start(name, [name], self.env | owner)

    def check(self) -> list[str]:
        """Restarts what ended; raises ProcessKeepsEnding where that has not helped five times."""
        if self.server is not None and self.server.restart_if_dead():
            log.warning("the database had ended; it was started again")
        if self.broker is not None and not self.broker.is_running():
            log.warning("the message broker ended; starting it again", broker=self.broker.kind)
            self.broker = _start_broker(self.home, self.broker.port)
            self.supervisor.record("broker", self.broker.pid)
        down = self.supervisor.check()
        for child in self.supervisor.children:
            if child.name not in SPARE and child.process is None and child.n_starts >= 5 and child.backoff_s > 8:
                raise ProcessKeepsEnding(
                    f"The process {child.name} ends again and again; its last words: "
                    f"{self.supervisor.last_words(child.name, 1)}"
                )
        return down


def _start_broker(home: Path, port: int | None) -> brokers.Broker:
    account = None
    state = home / "broker"
    if os.geteuid() == 0:
        # As root the broker runs as the account that the database runs as, under a folder which that one can reach.
        found = embedded.server_account()
        account = brokers.Account(name=found.name, uid=found.uid, gid=found.gid)
        state = Path((home / "location").read_text(encoding="utf-8").strip()) / "broker"
    return brokers.start(state, port=port, account=account)


@contextmanager
def running(settings: Settings, mode: Mode, say: Callable[[str], None], *, fresh: bool = False) -> Iterator[Services]:
    """Database and broker, started or found, migrated, and ended on the way out with every process started since.

    `fresh` throws away what the embedded database of this mode holds.
    """
    home = settings.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    supervisor = _own(home)
    try:
        # Told now and in one line, not after everything else has started.
        brokers.refuse_occupied(settings.api.host, settings.api.port, setting="TOCSIN_API__PORT")
    except brokers.PortOccupied:
        supervisor.close()
        raise
    server: embedded.EmbeddedServer | None = None
    services: Services | None = None
    try:
        supervisor.end_leftovers()
        if settings.database_url is None:
            say("starting the embedded PostgreSQL")
            server = embedded.start(home)
            if fresh:
                server.recreate(mode)
            urls = Urls(owner=server.url(mode, "owner"), worker=server.url(mode, "worker"), app=server.url(mode, "app"))
        else:
            owner = settings.database_url.get_secret_value()
            urls = Urls(
                owner=owner,
                worker=settings.database_worker_url.get_secret_value() if settings.database_worker_url else owner,
                app=settings.database_app_url.get_secret_value() if settings.database_app_url else owner,
            )
        migrated = migrate(urls.owner, exercise=mode == "exercise")
        if migrated.before != migrated.after:
            say(f"database schema {migrated.before or 'none'} -> {migrated.after}")
        env = {
            "TOCSIN_HOME": str(home),
            "TOCSIN_MODE": mode,
            "TOCSIN_DATABASE_WORKER_URL": urls.worker,
            "TOCSIN_DATABASE_APP_URL": urls.app,
            "TOCSIN_SECRET_KEY": secret_key(settings).decode(),
        }
        services = Services(settings, mode, home, supervisor, urls, env, server=server)
        if settings.mqtt.host is None:
            say("starting the message broker")
            services.broker = _start_broker(home, None)
            supervisor.record("broker", services.broker.pid)
            env |= {
                "TOCSIN_MQTT__HOST": services.broker.host,
                "TOCSIN_MQTT__PORT": str(services.broker.port),
                "TOCSIN_MQTT__USERNAME": services.broker.username,
                "TOCSIN_MQTT__PASSWORD": services.broker.password,
            }
            if services.broker.kind == "amqtt":
                services.notices.append(brokers.AMQTT_NOTICE)
                say(brokers.AMQTT_NOTICE)
        yield services
    finally:
        supervisor.stop()
        if services is not None and services.broker is not None:
            services.broker.stop()
            supervisor.forget("broker")
        if server is not None:
            server.stop()
        supervisor.close()


def _own(home: Path) -> Supervisor:
    """The supervisor of this home, once the guardian of a killed run has tidied up; raises AlreadyRunning."""
    deadline = time.monotonic() + _GUARDIAN_S
    while True:
        try:
            return Supervisor(home)
        except AlreadyRunning as error:
            if error.role != "guardian" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def clean_up_after_kill(home: Path) -> None:
    """The guardian's duty once the supervisor is gone: ends its processes, the broker and the embedded database."""
    try:
        supervisor = Supervisor(home, role="guardian")
    except AlreadyRunning:
        return  # a new run has begun and deals with it
    try:
        supervisor.end_leftovers(but=os.getpid())
        embedded.stop_left_behind(home)
    finally:
        supervisor.close()


def wait_for_stop() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop
