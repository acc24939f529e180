#!/usr/bin/env python3
"""Prepares this folder for `docker compose`: secrets once, and an account for each device. Standard library only.

    python3 deploy/manage.py init --public-url https://warn.example.org
    python3 deploy/manage.py device add demo G1        prints the device's password, once
    python3 deploy/manage.py device remove demo G1
    python3 deploy/manage.py device list

A device's account is `tenant.station`. It may publish under its own station of its own tenant and read its own
commands, nothing else: one block of access rules per device. A `%u` pattern cannot say that, because it binds one level
of the topic and the tenant is another.
"""

import argparse
import base64
import contextlib
import fcntl
import hashlib
import ipaddress
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(__file__).resolve().parent

#: As the database's own check of tenant.slug: no full stop, so the first one in a user name ends the tenant.
TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: A station as it stands in a topic: one level, and a word in a password file.
STATION = re.compile(r"[^\s/+#:]{1,200}")
PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

_MADE = "(made by init)"
#: Passwords have 256 bits of chance, so stretching them would only cost the broker time at each connection.
_ITERATIONS = 101


class Refused(Exception):
    """What was asked cannot be done; the message says why."""


def password_line(user: str, password: str, salt: bytes | None = None) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512, its format 7."""
    salt = salt if salt is not None else os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"{user}:$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def device_user(tenant: str, station: str) -> str:
    """The account of a device; raises Refused where a name cannot be one level of a topic."""
    if not TENANT.fullmatch(tenant):
        raise Refused(f"tenant {tenant!r}: small letters, digits, - and _ only")
    level = re.sub(r"\s+", "_", station.strip())  # as ingest.station writes it in a topic
    if not STATION.fullmatch(level) or not level.isprintable():
        raise Refused(f"station {station!r}: 1 to 200 printable characters without / + # and :")
    return f"{tenant}.{level}"


def device_rules(user: str) -> str:
    """The access rules of one device."""
    tenant, station = user.split(".", 1)
    topic = f"tocsin/v1/{tenant}"
    return (
        f"user {user}\n"
        f"topic write {topic}/obs/{station}\n"
        f"topic write {topic}/obs/{station}/#\n"
        f"topic write {topic}/meta/{station}\n"
        f"topic write {topic}/state/{station}\n"
        f"topic read {topic}/cmd/{station}/#\n"
        f"topic write {topic}/cmdack/{station}/#\n"
    )


def write(file: Path, text: str, mode: int) -> None:
    """Replaces a file as a whole, never half of it."""
    fresh = file.with_name(f".{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), mode)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


@contextlib.contextmanager
def accounts(folder: Path) -> Iterator[dict[str, str]]:
    """The broker's accounts (user to line of the password file), written back, with the rules, if they changed."""
    private = folder / "mosquitto" / "private"
    if not private.is_dir():
        raise Refused(f"{private} does not exist: run `init` first")
    with (private / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        passwords = private / "passwords"
        lines = passwords.read_text(encoding="utf-8").splitlines() if passwords.exists() else []
        found = {line.split(":", 1)[0]: line for line in lines if line.strip()}
        before = dict(found)
        yield found
        if found != before or not passwords.exists():
            devices = sorted(user for user in found if "." in user)
            rules = (folder / "mosquitto" / "acl").read_text(encoding="utf-8")
            blocks = "".join(f"\n{device_rules(user)}" for user in devices)
            # Rules before passwords: an account without rules may do nothing, rules without an account do nothing.
            write(private / "acl", rules + blocks, 0o640)
            write(passwords, "".join(f"{found[user]}\n" for user in sorted(found)), 0o640)


def init(folder: Path, options: argparse.Namespace) -> None:
    """Writes .env with fresh secrets, and the broker's own accounts. Never overwrites an installation."""
    env = folder / ".env"
    if env.exists():
        raise Refused(f"{env} exists: this folder has been set up; its secrets are kept")
    address = urlsplit(options.public_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise Refused(f"--public-url {options.public_url!r}: a whole address, such as https://warn.example.org")
    loopback = address.hostname in ("localhost", "127.0.0.1", "::1")
    if address.scheme == "http" and not loopback:
        raise Refused(f"--public-url {options.public_url!r}: people sign in there, so it must be https")
    if not PROJECT.fullmatch(options.project):
        raise Refused(f"--project {options.project!r}: small letters, digits, - and _ only")
    try:
        subnet = ipaddress.ip_network(options.subnet)
    except ValueError as error:
        raise Refused(f"--subnet: {error}") from error
    if not subnet.is_private or subnet.num_addresses < 8:
        raise Refused(f"--subnet {options.subnet}: a private network of 8 addresses or more")
    given = {
        "PROJECT": options.project,
        "MODE": options.mode,
        "PUBLIC_URL": options.public_url.rstrip("/"),
        "API_PORT": str(options.api_port),
        "MQTT_PORT": str(options.mqtt_port),
        "OUTSIDE_SUBNET": str(subnet),
        "SECRETS_GID": str(os.getgid()),
    }
    values: dict[str, str] = {}
    out = []
    for line in (folder / "env.example").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, example = line.split("=", 1)
            values[name] = given.get(name) or (secrets.token_urlsafe(32) if example == _MADE else example)
            line = f"{name}={values[name]}"
        out.append(line)

    private = folder / "mosquitto" / "private"
    for made in (private, private / "conf.d", private / "tls"):
        made.mkdir(mode=0o750, exist_ok=True)
        made.chmod(0o750)
    with accounts(folder) as users:
        users["tocsin-ingest"] = password_line("tocsin-ingest", values["MQTT_PASSWORD"])
        users["tocsin-health"] = password_line("tocsin-health", values["MQTT_HEALTH_PASSWORD"])
    write(env, "\n".join(out) + "\n", 0o600)
    print(f"Wrote {env} and {private}. Keep both out of version control and in your backup of secrets.")
    print(f"Next: cd {folder} && docker compose up -d --build --wait")


def add(folder: Path, options: argparse.Namespace) -> None:
    """Makes the account of one device, and prints its password: it is stored nowhere else."""
    user = device_user(options.tenant, options.station)
    with accounts(folder) as users:
        if user in users:
            raise Refused(f"{user} has an account; remove it first to give it a new password")
        password = secrets.token_urlsafe(32)
        users[user] = password_line(user, password)
    tenant, station = user.split(".", 1)
    print(f"user name: {user}\npassword:  {password}\ntopics:    tocsin/v1/{tenant}/obs/{station}/...")
    _how_to_apply()


def remove(folder: Path, options: argparse.Namespace) -> None:
    """Takes a device's account away: the broker ends its connection as it reads the accounts again."""
    user = device_user(options.tenant, options.station)
    with accounts(folder) as users:
        if users.pop(user, None) is None:
            raise Refused(f"{user} has no account")
    print(f"removed: {user}")
    _how_to_apply()


def show(folder: Path, _options: argparse.Namespace) -> None:
    """The devices that have an account, one a line."""
    with accounts(folder) as users:
        for user in sorted(user for user in users if "." in user):
            print(user)


def _how_to_apply() -> None:
    print("To apply: docker compose kill --signal HUP mosquitto", file=sys.stderr)


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 0, or 2 and one line that says what was refused."""
    parser = argparse.ArgumentParser(description="Prepares this folder for docker compose.")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="the installation's folder (default: this script's)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    start = commands.add_parser("init", help="write .env with fresh secrets, and the broker's own accounts")
    start.add_argument("--public-url", required=True, help="the address that people open")
    start.add_argument("--mode", choices=("live", "exercise"), default="live")
    start.add_argument("--project", default="tocsin", help="the compose project's name")
    start.add_argument("--api-port", type=_port, default=8000)
    start.add_argument("--mqtt-port", type=_port, default=1883)
    start.add_argument("--subnet", default="172.30.77.0/24", help="addresses of the network in front of the API")
    start.set_defaults(run=init)

    device = commands.add_parser("device", help="accounts of devices").add_subparsers(required=True, metavar="COMMAND")
    for name, run, told in (
        ("add", add, "make an account, and print its password once"),
        ("remove", remove, "take the account away"),
    ):
        command = device.add_parser(name, help=told)
        command.add_argument("tenant", help="the tenant's slug")
        command.add_argument("station", help="the station's code")
        command.set_defaults(run=run)
    device.add_parser("list", help="devices that have an account").set_defaults(run=show)

    options = parser.parse_args(arguments)
    try:
        options.run(options.folder, options)
    except (Refused, OSError) as error:
        print(f"manage.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
