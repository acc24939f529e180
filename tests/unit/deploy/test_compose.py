"""deploy/compose.yaml: right by the Compose specification, and right for Tocsin."""

import copy
import re
from ipaddress import ip_network
from typing import Any

import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from core.settings import IngestSettings, load_settings, setting_names
from tests.unit.deploy import reading
from tocsin import services

#: The processes of Tocsin that run for as long as the installation does.
PROCESSES = ("ingest", "watch", "deliver", "jobs", "api", "feeds")
#: Whose login each process has.
LOGINS = {
    "migrate": {"TOCSIN_DATABASE_URL": "tocsin"},
    "ingest": {"TOCSIN_DATABASE_WORKER_URL": "tocsin_worker"},
    "watch": {"TOCSIN_DATABASE_WORKER_URL": "tocsin_worker"},
    "deliver": {"TOCSIN_DATABASE_WORKER_URL": "tocsin_worker"},
    "feeds": {"TOCSIN_DATABASE_WORKER_URL": "tocsin_worker"},
    "jobs": {"TOCSIN_DATABASE_URL": "tocsin", "TOCSIN_DATABASE_WORKER_URL": "tocsin_worker"},
    "api": {"TOCSIN_DATABASE_WORKER_URL": "tocsin_worker", "TOCSIN_DATABASE_APP_URL": "tocsin_app"},
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return reading.load()


@pytest.fixture(scope="module")
def schema() -> Validator:
    found = get_builtin_schema("vendor.compose-spec")
    return validator_for(found)(found)


# ---------------------------------------------------------------- by the specification's own schema
@pytest.mark.parametrize("name", ["compose.yaml", "compose.tls.yaml"])
def test_is_valid_by_the_schema_of_the_compose_specification(name: str, schema: Validator) -> None:
    found = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in schema.iter_errors(reading.load(name))]
    assert found == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "api", "helthcheck"), {"test": ["CMD", "true"]}),
        (("services", "api", "ports"), "8000:8000"),
        (("services", "api", "depends_on", "migrate", "condition"), "service_done"),
        (("services", "api", "init"), 1),
        (("networks", "data", "internal"), [True]),
        (("srevices",), {}),
    ],
)
def test_the_schema_refuses_a_mistake(
    path: tuple[str, ...], value: object, compose: dict[str, Any], schema: Validator
) -> None:
    broken = copy.deepcopy(compose)
    *way, last = path
    place = broken
    for step in way:
        place = place[step]
    place[last] = value
    assert list(schema.iter_errors(broken))


# ---------------------------------------------------------------- variables
def test_asks_for_exactly_the_variables_of_the_example() -> None:
    asked = set()
    for name in ("compose.yaml", "compose.tls.yaml"):
        asked |= reading.variables((reading.DEPLOY / name).read_text(encoding="utf-8"))
    assert asked - {"IMAGE"} == set(reading.example_environment())


@pytest.mark.parametrize(
    "name", sorted(set(reading.example_environment()) - {"PROJECT", "API_PORT", "MQTT_PORT", "OUTSIDE_SUBNET"})
)
def test_does_not_start_without(name: str) -> None:
    environment = reading.example_environment()
    del environment[name]
    with pytest.raises(reading.MissingVariable, match=name):
        reading.load(environment=environment)


def test_examples_hold_no_secret() -> None:
    for name, value in reading.example_environment().items():
        if re.search(r"PASSWORD|KEY|SECRET", name):
            assert value == "(made by init)", name
    for line in (reading.DEPLOY / "channels.env.example").read_text(encoding="utf-8").splitlines():
        assert not line or line.startswith("#"), line
        if re.search(r"(PASSWORD|KEY|SECRET)=", line):
            assert line.endswith("="), line


def test_every_setting_that_is_named_exists() -> None:
    named = set()
    for file in sorted(reading.DEPLOY.rglob("*")):
        if file.is_file() and "private" not in file.parts and "__pycache__" not in file.parts:
            named |= set(re.findall(r"TOCSIN_[A-Z0-9_]+", file.read_text(encoding="utf-8")))
    assert named - set(setting_names()) == set()
    assert "TOCSIN_HOME" in named


@pytest.mark.parametrize("service", [*PROCESSES, "migrate"])
def test_settings_of_each_service_are_accepted(
    service: str, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    for name, value in compose["services"][service]["environment"].items():
        assert isinstance(value, str), f"{name} is not text: quote it"
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.mode == "live"
    for name, login in LOGINS[service].items():
        url = getattr(settings, name.removeprefix("TOCSIN_").lower()).get_secret_value()
        assert url.startswith(f"postgresql://{login}:")
        assert url.endswith("@timescaledb:5432/tocsin")


# ---------------------------------------------------------------- what each service may do
def test_there_is_a_service_for_each_process(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"timescaledb", "mosquitto", "migrate", *PROCESSES}
    assert set(PROCESSES) == set(services.PROCESSES)  # what `tocsin up` starts
    for name in (*PROCESSES, "migrate"):
        assert compose["services"][name]["command"] == [name]


def test_every_lasting_service_has_a_health_check_and_comes_back(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "migrate":
            assert service["restart"].startswith("on-failure")
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
    for name in PROCESSES:
        test = compose["services"][name]["healthcheck"]["test"]
        assert (test == ["CMD", "tocsin", "healthcheck", name]) or (name == "api" and "/v1/ready" in test[-1])


def test_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    for name in PROCESSES:
        needs = {key: value["condition"] for key, value in compose["services"][name]["depends_on"].items()}
        assert needs["migrate"] == "service_completed_successfully"
        assert needs["timescaledb"] == "service_healthy"
    assert compose["services"]["ingest"]["depends_on"]["mosquitto"]["condition"] == "service_healthy"


def test_each_process_has_the_logins_it_needs_and_no_other(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        has = {key for key in service.get("environment", {}) if key.startswith("TOCSIN_DATABASE")}
        assert has == set(LOGINS.get(name, {})), name


def test_who_speaks_with_the_broker_reaches_it(compose: dict[str, Any]) -> None:
    """ingest hears devices, deliver commands sirens, jobs broadcasts warnings; nobody else has the login."""
    speaks = {
        name
        for name, service in compose["services"].items()
        if service.get("environment", {}).get("TOCSIN_MQTT__HOST") == "mosquitto"
    }
    assert speaks == {"ingest", "deliver", "jobs"}
    assert {n for n, one in compose["services"].items() if "broker" in one["networks"]} == speaks | {"mosquitto"}
    for name in speaks:
        given = compose["services"][name]["environment"]
        assert given["TOCSIN_MQTT__USERNAME"] == "tocsin-ingest"
        assert given["TOCSIN_MQTT__PASSWORD"]


def test_only_deliver_and_the_api_see_the_channels(compose: dict[str, Any]) -> None:
    sees = {
        name
        for name, service in compose["services"].items()
        for file in service.get("env_file", [])
        if file["path"] == "channels.env"
    }
    assert sees == {"deliver", "api"}


def test_nothing_is_published_beyond_loopback(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"api", "mosquitto"}
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:") for port in ports)
    tls = reading.load("compose.tls.yaml")["services"]["mosquitto"]["ports"]
    assert tls == ["8883:8883"]


def test_the_database_reaches_nobody_outside(compose: dict[str, Any]) -> None:
    assert compose["networks"]["data"]["internal"] is True
    assert compose["services"]["timescaledb"]["networks"] == ["data"]
    beyond = {name for name, service in compose["services"].items() if "outside" in service["networks"]}
    assert beyond == {"deliver", "api", "feeds"}


def test_the_proxy_in_front_is_believed_and_nobody_else(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from uvicorn.middleware.proxy_headers import _TrustedHosts

    (network,) = compose["networks"]["outside"]["ipam"]["config"]
    gateway = next(ip_network(network["subnet"]).hosts())
    value = compose["services"]["api"]["environment"]["TOCSIN_API__TRUSTED_PROXIES"]
    monkeypatch.setenv("TOCSIN_API__TRUSTED_PROXIES", value)
    trusted = _TrustedHosts(load_settings().api.trusted_proxies)
    assert str(gateway) in trusted
    assert "127.0.0.1" not in trusted
    assert "203.0.113.9" not in trusted


def test_tocsin_runs_with_an_init_and_without_privileges(compose: dict[str, Any]) -> None:
    for name in (*PROCESSES, "migrate"):
        service = compose["services"][name]
        assert service["init"] is True
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        assert "user" not in service  # the image's own account


def test_images_are_pinned_to_a_release(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items() if "build" not in service}
    assert set(images) == {"timescaledb", "mosquitto"}
    assert re.fullmatch(r"timescale/timescaledb:2\.2\d\.\d+-pg17", images["timescaledb"])
    assert re.fullmatch(r"eclipse-mosquitto:2\.\d+\.\d+", images["mosquitto"])


def test_what_must_last_is_on_a_named_volume(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert "database:/var/lib/postgresql/data" in services["timescaledb"]["volumes"]
    assert "broker:/mosquitto/data" in services["mosquitto"]["volumes"]
    for name in PROCESSES:
        assert services[name]["volumes"] == ["home:/var/lib/tocsin"]
    assert set(compose["volumes"]) == {"database", "broker", "home"}
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert volume.endswith(":ro")
                assert (reading.DEPLOY / source).exists() or source == "./mosquitto/private"


# ---------------------------------------------------------------- the broker's configuration
@pytest.fixture(scope="module")
def broker() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (reading.DEPLOY / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            key, value = line.split(" ", 1)
            found.setdefault(key, []).append(value)
    return found


def test_the_broker_knows_everyone_by_name(broker: dict[str, list[str]]) -> None:
    assert broker["allow_anonymous"] == ["false"]
    assert broker["password_file"] == ["/mosquitto/private/passwords"]
    assert broker["acl_file"] == ["/mosquitto/private/acl"]


def test_two_batches_fit_in_flight(broker: dict[str, list[str]]) -> None:
    limit = int(broker["max_inflight_messages"][0])
    assert limit >= 2 * IngestSettings().batch_rows
    assert limit <= 65535  # the protocol's receive maximum


def test_a_message_may_be_as_large_as_ingest_accepts(broker: dict[str, list[str]]) -> None:
    limit = int(broker["message_size_limit"][0])
    assert limit == IngestSettings().max_message_bytes == 64 * 1024
    assert int(broker["max_packet_size"][0]) > limit + 1024  # the topic and the headers ride along


def test_the_broker_keeps_sessions_and_bounds_its_queues(broker: dict[str, list[str]]) -> None:
    assert broker["persistence"] == ["true"]
    assert int(broker["max_queued_messages"][0]) > 0
    assert int(broker["max_queued_bytes"][0]) > 0
