"""Who may say and hear what at the broker: the real mosquitto, with deploy/'s own configuration and accounts."""

import contextlib
import datetime as dt
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.unit.deploy import reading

manage = reading.manage()

NOT_AUTHORIZED = 135
PATIENCE_S = 10.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Broker:
    """A running mosquitto and the folder that it was set up from."""

    folder: Path
    port: int
    tls_port: int
    process: subprocess.Popen[bytes]
    passwords: dict[str, str]

    def manage(self, *arguments: str) -> int:
        code: int = manage.main(["--folder", str(self.folder), *arguments])
        return code

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@dataclass
class Client:
    """A connected client, and what it was told."""

    mqtt: mqtt.Client
    received: "queue.Queue[mqtt.MQTTMessage]" = field(default_factory=queue.Queue)
    refusals: "queue.Queue[int]" = field(default_factory=queue.Queue)
    ended: "queue.Queue[int]" = field(default_factory=queue.Queue)

    def publish(self, topic: str, payload: bytes = b"1") -> int:
        """The broker's answer to a QoS 1 message: 0, or the reason why it was refused."""
        self.mqtt.publish(topic, payload, qos=1)
        reason = self.refusals.get(timeout=PATIENCE_S)
        return reason if reason >= 128 else 0  # below: accepted, and perhaps nobody listens

    def topics(self, n: int, within_s: float = PATIENCE_S) -> list[str]:
        """Topics of the next `n` messages."""
        return [self.received.get(timeout=within_s).topic for _ in range(n)]

    def hears_nothing(self, for_s: float = 0.5) -> bool:
        try:
            self.received.get(timeout=for_s)
        except queue.Empty:
            return True
        return False


def _certificates(folder: Path) -> None:
    """An authority, and a server certificate for 127.0.0.1 signed by it."""
    now = dt.datetime.now(dt.UTC)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])

    def made(subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_authority: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )

    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(made(authority, authority_key, True).public_bytes(pem))
    (folder / "server.pem").write_bytes(made(server, server_key, False).public_bytes(pem))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("mosquitto is not on the PATH: its access rules cannot be tried")
    base = tmp_path_factory.mktemp("broker")
    folder = base / "deploy"
    ignored = shutil.ignore_patterns("private", ".env", "*.env", "__pycache__")
    shutil.copytree(reading.DEPLOY, folder, ignore=ignored)
    assert manage.main(["--folder", str(folder), "init", "--public-url", "http://localhost:8000"]) == 0
    environment = dict(
        line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if line and not line.startswith("#")
    )
    passwords = {
        "tocsin-ingest": environment["MQTT_PASSWORD"],
        "tocsin-health": environment["MQTT_HEALTH_PASSWORD"],
    }
    for tenant, station in (("demo", "G1"), ("demo", "G2"), ("other", "G1")):
        printed = subprocess.run(
            ["python3", str(folder / "manage.py"), "device", "add", tenant, station],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        passwords[f"{tenant}.{station}"] = printed.split("password:")[1].split()[0]

    port, tls_port = _free_port(), _free_port()
    data = base / "data"
    data.mkdir()
    _certificates(folder / "mosquitto" / "private" / "tls")
    tls = (folder / "mosquitto" / "tls.conf.example").read_text(encoding="utf-8")
    (folder / "mosquitto" / "private" / "conf.d" / "tls.conf").write_text(
        tls.replace("listener 8883", f"listener {tls_port} 127.0.0.1").replace(
            "/mosquitto/private", str(folder / "mosquitto/private")
        )
    )
    # The places inside the container become places here; every rule stays as deployed.
    text = (folder / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    text, n_listeners = re.subn(r"(?m)^listener 1883$", f"listener {port} 127.0.0.1", text)
    assert n_listeners == 1
    text = text.replace("/mosquitto/private", str(folder / "mosquitto" / "private")).replace(
        "/mosquitto/data", str(data)
    )
    if os.geteuid() == 0:
        text += "\nuser root\n"  # or it drops to an account that cannot reach pytest's folder
    config = base / "mosquitto.conf"
    config.write_text(text, encoding="utf-8")

    with (base / "log").open("wb") as log:
        process = subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, (base / "log").read_text()
            assert time.monotonic() < deadline, (base / "log").read_text()
            time.sleep(0.05)
        yield Broker(folder, port, tls_port, process, passwords)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


_numbers = iter(range(1_000_000))


@contextlib.contextmanager
def connected(
    broker: Broker,
    user: str | None,
    password: str | None = None,
    *,
    manual_ack: bool = False,
    context: ssl.SSLContext | None = None,
    protocol: int = mqtt.MQTTv5,
) -> Iterator[Client]:
    """A client of that user; raises PermissionError where the broker refuses it."""
    inner = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=f"{user or 'nobody'}-{next(_numbers)}",
        protocol=protocol,
        manual_ack=manual_ack,
    )
    client = Client(inner)
    answer: queue.Queue[ReasonCode] = queue.Queue()
    if user is not None:
        inner.username_pw_set(user, password if password is not None else broker.passwords[user])
    if context is not None:
        inner.tls_set_context(context)
    inner.on_connect = lambda _c, _u, _f, reason, _p: answer.put(reason)
    inner.on_disconnect = lambda _c, _u, _f, reason, _p: client.ended.put(reason.value)
    inner.on_publish = lambda _c, _u, _mid, reason, _p: client.refusals.put(reason.value)
    inner.on_message = lambda _c, _u, message: client.received.put(message)
    inner.on_subscribe = lambda _c, _u, _mid, _r, _p: client.refusals.put(0)
    properties = None
    if protocol == mqtt.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = 65535
    inner.connect("127.0.0.1", broker.port if context is None else broker.tls_port, properties=properties)
    inner.loop_start()
    try:
        reason = answer.get(timeout=PATIENCE_S)
        if reason.is_failure:
            raise PermissionError(str(reason))
        yield client
    finally:
        inner.disconnect()
        inner.loop_stop()


def _subscribed(client: Client, *filters: str) -> Client:
    for wanted in filters:
        client.mqtt.subscribe(wanted, qos=1)
        client.refusals.get(timeout=PATIENCE_S)
    return client


# ---------------------------------------------------------------- who may come in
def test_nobody_comes_in_without_a_name(broker: Broker) -> None:
    with pytest.raises(PermissionError), connected(broker, None):
        pass


@pytest.mark.parametrize("user", ["demo.G1", "tocsin-ingest", "stranger"])
def test_nobody_comes_in_with_a_wrong_password(broker: Broker, user: str) -> None:
    with pytest.raises(PermissionError), connected(broker, user, "not the password"):
        pass


# ---------------------------------------------------------------- who may say what
def test_ingest_hears_what_a_device_says_of_itself(broker: Broker) -> None:
    with connected(broker, "tocsin-ingest") as ingest, connected(broker, "demo.G1") as device:
        _subscribed(ingest, "tocsin/v1/+/obs/#", "tocsin/v1/+/meta/#", "tocsin/v1/+/state/#", "tocsin/v1/+/cmdack/#")
        said = [
            "tocsin/v1/demo/obs/G1",
            "tocsin/v1/demo/obs/G1/level",
            "tocsin/v1/demo/meta/G1",
            "tocsin/v1/demo/state/G1",
            "tocsin/v1/demo/cmdack/G1/7",
        ]
        assert [device.publish(topic) for topic in said] == [0] * len(said)
        assert ingest.topics(len(said)) == said


@pytest.mark.parametrize("user", ["demo.G2", "other.G1", "tocsin-health"])
def test_no_other_account_speaks_for_a_device(broker: Broker, user: str) -> None:
    with connected(broker, "tocsin-ingest") as ingest, connected(broker, user) as intruder:
        _subscribed(ingest, "tocsin/v1/+/obs/#", "tocsin/v1/+/meta/#", "tocsin/v1/+/state/#")
        for topic in (
            "tocsin/v1/demo/obs/G1",
            "tocsin/v1/demo/obs/G1/level",
            "tocsin/v1/demo/meta/G1",
            "tocsin/v1/demo/state/G1",
        ):
            assert intruder.publish(topic) == NOT_AUTHORIZED, topic
        assert ingest.hears_nothing()


def test_a_device_gives_no_commands_and_no_alerts(broker: Broker) -> None:
    with connected(broker, "demo.G1") as device:
        for topic in ("tocsin/v1/demo/cmd/G1/1", "tocsin/v1/demo/cmd/G2/1", "tocsin/v1/demo/alert/flood/a", "other"):
            assert device.publish(topic) == NOT_AUTHORIZED, topic


# ---------------------------------------------------------------- who may hear what
def test_a_device_hears_its_own_commands_only(broker: Broker) -> None:
    with (
        connected(broker, "tocsin-ingest") as ingest,
        connected(broker, "demo.G1") as one,
        connected(broker, "demo.G2") as two,
    ):
        for device in (one, two):
            _subscribed(device, "#", "tocsin/v1/demo/cmd/#", "tocsin/v1/demo/cmd/G1/#")
        assert ingest.publish("tocsin/v1/demo/cmd/G1/1") == 0
        assert set(one.topics(1)) == {"tocsin/v1/demo/cmd/G1/1"}
        assert two.hears_nothing()


def test_devices_do_not_hear_each_other(broker: Broker) -> None:
    with connected(broker, "demo.G1") as one, connected(broker, "demo.G2") as two:
        _subscribed(two, "#", "tocsin/v1/demo/obs/#", "$SYS/#")
        assert one.publish("tocsin/v1/demo/obs/G1") == 0
        assert two.hears_nothing()


def test_the_health_check_hears_the_broker_and_no_readings(broker: Broker) -> None:
    with connected(broker, "tocsin-health") as health, connected(broker, "demo.G1") as device:
        _subscribed(health, "#", "$SYS/#")
        assert device.publish("tocsin/v1/demo/obs/G1") == 0
        assert health.topics(1) == ["$SYS/broker/uptime"]
        assert health.hears_nothing()


# ---------------------------------------------------------------- limits
@pytest.mark.parametrize("protocol", [mqtt.MQTTv311, mqtt.MQTTv5])
def test_a_whole_batch_is_in_flight_before_the_first_acknowledgement(broker: Broker, protocol: int) -> None:
    n = 500  # the broker's default would stop an MQTT 3 client at 20; an MQTT 5 client says for itself
    with (
        connected(broker, "tocsin-ingest", manual_ack=True, protocol=protocol) as ingest,
        connected(broker, "demo.G1") as device,
    ):
        _subscribed(ingest, "tocsin/v1/+/obs/#")
        for _ in range(n):
            device.mqtt.publish("tocsin/v1/demo/obs/G1", b"1", qos=1)
        assert len(ingest.topics(n)) == n


@pytest.mark.parametrize(("size", "passes"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_messages_above_64_kib_are_not_passed_on(broker: Broker, size: int, passes: bool) -> None:
    # MQTT 3.1.1: this mosquitto refuses with a reason that MQTT 5 does not know for a PUBACK, and paho gives up on it.
    with (
        connected(broker, "tocsin-ingest") as ingest,
        connected(broker, "demo.G1", protocol=mqtt.MQTTv311) as device,
    ):
        _subscribed(ingest, "tocsin/v1/+/obs/#")
        assert device.publish("tocsin/v1/demo/obs/G1", b"x" * size) == 0
        assert device.publish("tocsin/v1/demo/obs/G1/after") == 0
        heard = ["tocsin/v1/demo/obs/G1"] * passes + ["tocsin/v1/demo/obs/G1/after"]
        assert ingest.topics(len(heard)) == heard


def test_a_packet_that_would_fill_memory_ends_the_connection(broker: Broker) -> None:
    with connected(broker, "demo.G1", protocol=mqtt.MQTTv311) as device:
        device.mqtt.publish("tocsin/v1/demo/obs/G1", b"x" * (1024 * 1024), qos=1)
        assert device.ended.get(timeout=PATIENCE_S) != 0
        device.mqtt.disconnect()


# ---------------------------------------------------------------- coming and going
def test_a_removed_device_is_put_out_and_a_new_one_let_in(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    assert broker.manage("device", "add", "demo", "G9") == 0
    password = capsys.readouterr().out.split("password:")[1].split()[0]
    with pytest.raises(PermissionError), connected(broker, "demo.G9", password):
        pass  # not read yet
    broker.reload()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with connected(broker, "demo.G9", password) as device:
                assert device.publish("tocsin/v1/demo/obs/G9") == 0
                assert broker.manage("device", "remove", "demo", "G9") == 0
                broker.reload()
                assert device.ended.get(timeout=PATIENCE_S) != 0
                device.mqtt.disconnect()
            break
        except PermissionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with pytest.raises(PermissionError), connected(broker, "demo.G9", password):
        pass


def test_devices_elsewhere_come_in_by_tls_under_the_same_rules(broker: Broker) -> None:
    context = ssl.create_default_context(cafile=str(broker.folder / "mosquitto" / "private" / "tls" / "ca.pem"))
    with connected(broker, "demo.G1", context=context) as device:
        assert device.publish("tocsin/v1/demo/obs/G1") == 0
        assert device.publish("tocsin/v1/demo/obs/G2") == NOT_AUTHORIZED
    with pytest.raises(PermissionError), connected(broker, None, context=context):
        pass
    strangers = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError), connected(broker, "demo.G1", context=strangers):
        pass


def test_the_health_check_of_the_compose_file_works(broker: Broker) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not on the PATH (package mosquitto-clients)")
    command = reading.load()["services"]["mosquitto"]["healthcheck"]["test"][1]
    command = command.replace("-h 127.0.0.1", f"-h 127.0.0.1 -p {broker.port}")
    for password, code in ((broker.passwords["tocsin-health"], 0), ("wrong", 5)):
        ended = subprocess.run(
            ["sh", "-c", command], env={**os.environ, "HEALTH_PASSWORD": password}, capture_output=True, timeout=15
        )
        assert ended.returncode == code, ended.stderr
