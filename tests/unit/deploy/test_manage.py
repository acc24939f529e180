"""deploy/manage.py: secrets once, one account a device, and nothing overwritten."""

import shutil
import stat
from pathlib import Path

import pytest

from tests.unit.deploy import reading

manage = reading.manage()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what a checkout has."""
    shutil.copytree(
        reading.DEPLOY,
        tmp_path / "deploy",
        ignore=shutil.ignore_patterns("private", ".env", "*.env", "__pycache__"),
    )
    return tmp_path / "deploy"


def run(folder: Path, *arguments: str) -> int:
    code: int = manage.main(["--folder", str(folder), *arguments])
    return code


@pytest.fixture
def ready(folder: Path) -> Path:
    assert run(folder, "init", "--public-url", "https://warn.example.org/") == 0
    return folder


def _environment(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_init_fills_in_all_that_compose_asks_for(ready: Path) -> None:
    environment = _environment(ready)
    assert set(environment) == set(reading.example_environment())
    assert environment["PUBLIC_URL"] == "https://warn.example.org"
    secrets = [value for name, value in environment.items() if name.endswith(("PASSWORD", "_KEY"))]
    assert len(set(secrets)) == len(secrets) == 7
    for secret in secrets:
        assert len(secret) >= 43
        assert secret.replace("-", "").replace("_", "").isalnum()  # stands in an address unescaped
    loaded = reading.load(environment=environment)
    assert loaded["services"]["api"]["environment"]["TOCSIN_MODE"] == "live"


def test_two_installations_share_no_secret(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    for place in (folder, other):
        assert run(place, "init", "--public-url", "http://127.0.0.1:8000") == 0
    one, two = _environment(folder), _environment(other)
    assert all(one[name] != two[name] for name in one if name.endswith(("PASSWORD", "_KEY")))


def test_an_exercise_has_its_own_name_and_ports(folder: Path) -> None:
    code = run(
        folder,
        *("init", "--public-url", "http://localhost:8100", "--mode", "exercise", "--project", "tocsin-exercise"),
        *("--api-port", "8100", "--mqtt-port", "1983", "--subnet", "172.30.78.0/24"),
    )
    assert code == 0
    loaded = reading.load(environment=_environment(folder))
    assert loaded["name"] == "tocsin-exercise"
    assert loaded["services"]["watch"]["environment"]["TOCSIN_MODE"] == "exercise"
    assert loaded["services"]["api"]["ports"] == ["127.0.0.1:8100:8000"]
    assert loaded["services"]["mosquitto"]["ports"] == ["127.0.0.1:1983:1883"]
    assert loaded["networks"]["outside"]["ipam"]["config"] == [{"subnet": "172.30.78.0/24"}]


def test_only_their_owner_and_the_broker_read_the_secrets(ready: Path) -> None:
    private = ready / "mosquitto" / "private"
    assert stat.S_IMODE((ready / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE(private.stat().st_mode) == 0o750
    for name in ("passwords", "acl"):
        assert stat.S_IMODE((private / name).stat().st_mode) == 0o640
    assert _environment(ready)["SECRETS_GID"] == str((private / "passwords").stat().st_gid)


def test_a_second_init_keeps_the_secrets(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (ready / ".env").read_bytes()
    assert run(ready, "init", "--public-url", "https://warn.example.org") == 2
    assert (ready / ".env").read_bytes() == before
    assert "has been set up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("warn.example.org", "a whole address"),
        ("ftp://warn.example.org", "a whole address"),
        ("http://warn.example.org", "must be https"),
    ],
)
def test_init_refuses_an_address(folder: Path, address: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "init", "--public-url", address) == 2
    assert told in capsys.readouterr().err
    assert not (folder / ".env").exists()


@pytest.mark.parametrize("subnet", ["172.30.77.1/24", "8.8.8.0/24", "172.30.77.0/31", "outside"])
def test_init_refuses_a_network(folder: Path, subnet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "init", "--public-url", "https://warn.example.org", "--subnet", subnet) == 2
    assert "--subnet" in capsys.readouterr().err
    assert not (folder / ".env").exists()


def test_a_device_may_speak_for_itself_only(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready, "device", "add", "demo", "G1.upper") == 0
    shown = capsys.readouterr().out
    password = shown.split("password:")[1].split()[0]
    private = ready / "mosquitto" / "private"
    stored = (private / "passwords").read_text(encoding="utf-8")
    assert "demo.G1.upper:$7$" in stored
    assert password not in stored
    rules = (private / "acl").read_text(encoding="utf-8")
    assert rules.startswith((ready / "mosquitto" / "acl").read_text(encoding="utf-8"))
    block = rules.split("user demo.G1.upper\n")[1]
    assert block.splitlines() == [
        "topic write tocsin/v1/demo/obs/G1.upper",
        "topic write tocsin/v1/demo/obs/G1.upper/#",
        "topic write tocsin/v1/demo/meta/G1.upper",
        "topic write tocsin/v1/demo/state/G1.upper",
        "topic read tocsin/v1/demo/cmd/G1.upper/#",
        "topic write tocsin/v1/demo/cmdack/G1.upper/#",
    ]


def test_a_device_is_not_given_a_second_password(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready, "device", "add", "demo", "G1") == 0
    before = (ready / "mosquitto" / "private" / "passwords").read_bytes()
    assert run(ready, "device", "add", "demo", "G1") == 2
    assert (ready / "mosquitto" / "private" / "passwords").read_bytes() == before
    assert "has an account" in capsys.readouterr().err


def test_removing_takes_account_and_rules(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for station in ("G1", "G2"):
        assert run(ready, "device", "add", "demo", station) == 0
    assert run(ready, "device", "remove", "demo", "G1") == 0
    private = ready / "mosquitto" / "private"
    for name in ("passwords", "acl"):
        text = (private / name).read_text(encoding="utf-8")
        assert "demo.G1" not in text
        assert "demo.G2" in text
        assert "tocsin-ingest" in text
    capsys.readouterr()
    assert run(ready, "device", "list") == 0
    assert capsys.readouterr().out.split() == ["demo.G2"]
    assert run(ready, "device", "remove", "demo", "G1") == 2
    assert "no account" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tenant", "station"),
    [
        ("demo", "+"),
        ("demo", "#"),
        ("demo", "a/b"),
        ("demo", "a\x07b"),
        ("demo", "x" * 201),
        ("demo", "a:b"),
        ("demo", "a\x00b"),
        ("demo", ""),
        ("de.mo", "G1"),
        ("+", "G1"),
        ("Demo", "G1"),
    ],
)
def test_names_that_would_open_other_topics_are_refused(ready: Path, tenant: str, station: str) -> None:
    before = (ready / "mosquitto" / "private" / "acl").read_bytes()
    assert run(ready, "device", "add", tenant, station) == 2
    assert (ready / "mosquitto" / "private" / "acl").read_bytes() == before


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("Nagalagam Street", "Nagalagam_Street"),
        (" 宜昌 站\t2 ", "宜昌_站_2"),
        ("Hanwella (new)", "Hanwella_(new)"),
        ("a\nuser tocsin-ingest", "a_user_tocsin-ingest"),
    ],
)
def test_a_station_is_named_as_in_its_topic(ready: Path, code: str, level: str) -> None:
    assert run(ready, "device", "add", "demo", code) == 0
    rules = (ready / "mosquitto" / "private" / "acl").read_text(encoding="utf-8")
    assert f"\nuser demo.{level}\ntopic write tocsin/v1/demo/obs/{level}\n" in rules
    assert rules.count("\nuser tocsin-ingest\n") == 1


def test_devices_before_init_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "device", "add", "demo", "G1") == 2
    assert "run `init` first" in capsys.readouterr().err
