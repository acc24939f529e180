"""The outermost layer: headers, limits, problems, pages; and what happens while the database is away."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from api import edge
from api.app import PortTaken, create_app, listen
from api.edge import MAX_BODY_BYTES, content_security_policy
from core.settings import Settings
from tests.integration.api.world import CHEAP, Console, World, running


def is_problem(answer: Any, status: int, name: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == f"urn:tocsin:problem:{name}"
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]
    assert set(told) == {"type", "title", "status", "detail", "request_id", "errors"}


def test_every_answer_carries_the_headers_that_keep_pages_safe(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            for path in ("/", "/v1/health", "/v1/me", "/nothing", "/v1/public/now"):
                answer = await client.get(path)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "script-src 'self';" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe-eval" not in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["x-request-id"]
            assert (await client.get("/v1/health")).headers["cache-control"] == "no-store"

    console(body)


@pytest.mark.parametrize(
    ("basemap", "origin"),
    [
        ("bundled", None),
        ("pmtiles:/srv/world.pmtiles", None),
        ("pmtiles:https://tiles.example.org/a/world.pmtiles", "https://tiles.example.org"),
        ("style:https://maps.example.org:8443/style.json", "https://maps.example.org:8443"),
    ],
)
def test_only_the_configured_basemap_origin_is_let_in(basemap: str, origin: str | None) -> None:
    policy = content_security_policy(Settings(basemap=basemap))
    connect = next(part for part in policy.split("; ") if part.startswith("connect-src"))
    assert connect == f"connect-src 'self'{f' {origin}' if origin else ''}"
    assert "script-src 'self'" in policy.split("; ")


def test_wrong_requests_are_problems_that_name_the_field(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            is_problem(await client.get("/v1/nothing"), 404, "not-found")
            is_problem(await client.post("/v1/health"), 405, "method-not-allowed")
            is_problem(await client.post("/v1/session", content=b"{"), 422, "invalid-input")
            for deep in (b"[" * 100_000, b'{"login":' * 50_000):
                answer = await client.post("/v1/session", content=deep, headers={"Content-Type": "application/json"})
                assert answer.status_code in (400, 422)
                assert answer.headers["content-type"] == "application/problem+json"
            missing = await client.post("/v1/session", json={"login": "x", "extra": 1})
            is_problem(missing, 422, "invalid-input")
            assert {one["field"] for one in missing.json()["errors"]} == {"body.password", "body.extra"}
            secret = await client.post(
                "/v1/session", json={"login": ["hunter2hunter2"], "password": ["hunter2hunter2"]}
            )
            is_problem(secret, 422, "invalid-input")
            assert "hunter2" not in secret.text  # what was sent is not repeated
            is_problem(await client.get("/v1/me"), 401, "not-signed-in")
        async with app.as_role(world, "partner") as partner:
            is_problem(await partner.get("/v1/overview"), 403, "not-permitted")
            is_problem(await partner.get("/v1/stations/not-a-uuid/observations"), 422, "invalid-input")

    console(body)


def test_large_and_slow_bodies_are_refused_before_anything_reads_them(
    console: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def trickle() -> Any:
        yield b"["
        await asyncio.sleep(1)
        yield b"]"

    async def endless() -> Any:
        for _ in range(MAX_BODY_BYTES // 65536 + 2):
            yield b" " * 65536

    async def body(app: Console) -> None:
        async with app.client() as client:
            is_problem(await client.post("/v1/session", content=b" " * (MAX_BODY_BYTES + 1)), 413, "body-too-large")
            is_problem(await client.post("/v1/session", content=endless()), 413, "body-too-large")
            quote = await client.post("/v1/quotes", content=b" " * (MAX_BODY_BYTES + 1))
            assert quote.status_code in (401, 422)  # a large fleet may be sent
            is_problem(await client.post("/v1/quotes", content=b" " * (4 * MAX_BODY_BYTES + 1)), 413, "body-too-large")
            bad = await client.post("/v1/session", content=b"{}", headers={"Content-Length": "x"})
            is_problem(bad, 413, "body-too-large")
            monkeypatch.setattr(edge, "BODY_TIMEOUT_S", 0.05)
            is_problem(await client.post("/v1/session", content=trickle()), 408, "body-too-slow")

    console(body)


def test_while_the_database_is_away_the_answer_is_503_and_it_comes_back(settings: Settings, world: World) -> None:
    import psycopg
    from psycopg import sql

    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    admin_url = psycopg.conninfo.make_conninfo(url, dbname="postgres")

    async def main() -> None:
        async with running(settings) as app, app.as_role(world, "insurer") as client:
            with psycopg.connect(admin_url, autocommit=True) as admin:
                database = sql.Identifier(str(name))
                admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
                try:
                    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                    app.app.state.services.app_pool.timeout = 0.3
                    app.app.state.services.worker_pool.timeout = 0.3
                    is_problem(await client.get("/v1/overview"), 503, "unavailable")
                    is_problem(await client.get("/v1/public/now", params={"t": app.token(world)}), 503, "unavailable")
                    ready = await client.get("/v1/ready")
                    assert ready.status_code == 503
                    assert ready.json()["parts"]["database"]["ok"] is False
                    assert (await client.get("/v1/health")).status_code == 200
                finally:
                    admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))
            app.app.state.services.app_pool.timeout = app.app.state.services.worker_pool.timeout = 10
            for _ in range(40):
                if (await client.get("/v1/ready")).status_code == 200:
                    break
                await asyncio.sleep(0.25)
            assert (await client.get("/v1/overview")).status_code == 200

    asyncio.run(main())


# ---------------------------------------------------------------- pages
@pytest.fixture
def built(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>console</title>")
    (static / "me.html").write_text("<!doctype html><title>phone</title>")
    (static / "assets" / "app-1a2b.js").write_text("export {}")
    (static / "sw.js").write_text("//")
    (static / "manifest.webmanifest").write_text("{}")
    (static / ".ui-hash").write_text("secret")
    (tmp_path / "outside.txt").write_text("outside")
    return static


def test_pages_are_served_and_cached_by_their_names(settings: Settings, world: World, built: Path) -> None:
    async def main() -> None:
        app = create_app(settings, hasher=CHEAP, static=built)
        async with app.router.lifespan_context(app), Console(app, settings).client() as client:
            for path, title in (("/", "console"), ("/me", "phone")):
                page = await client.get(path)
                assert title in page.text
                assert page.headers["content-type"].startswith("text/html")
                assert page.headers["cache-control"] == "no-cache"
                again = await client.get(path, headers={"If-None-Match": page.headers["etag"]})
                assert again.status_code in (200, 304)
            script = await client.get("/assets/app-1a2b.js")
            assert "immutable" in script.headers["cache-control"]
            assert script.headers["content-type"].startswith("text/javascript")
            assert (await client.get("/sw.js")).headers["cache-control"] == "no-cache"
            manifest = await client.get("/manifest.webmanifest")
            assert manifest.headers["content-type"].startswith("application/manifest+json")
            moved = await client.get("/now", params={"t": "x"})
            assert (moved.status_code, moved.headers["location"]) == (308, "/me?t=x")
            for hidden in (
                "/.ui-hash",
                "/../outside.txt",
                "/%2e%2e/outside.txt",
                "/assets/..%2f..%2foutside.txt",
                "/index.html",
                "/assets",
                "/%00",
                "/assets/nothing.js",
            ):
                is_problem(await client.get(hidden), 404, "not-found")

    asyncio.run(main())


def test_missing_pages_name_the_cause_and_the_command(settings: Settings, world: World, tmp_path: Path) -> None:
    async def main() -> None:
        app = create_app(settings, hasher=CHEAP, static=tmp_path / "nothing")
        async with app.router.lifespan_context(app), Console(app, settings).client() as client:
            for path in ("/", "/me"):
                page = await client.get(path)
                assert page.status_code == 503
                assert "hatch_build.py" in page.text
                assert str(tmp_path / "nothing") in page.text
                assert "<script" not in page.text

    asyncio.run(main())


def test_a_local_basemap_is_served_in_ranges_from_our_origin(settings: Settings, world: World, tmp_path: Path) -> None:
    tiles = tmp_path / "world.pmtiles"
    tiles.write_bytes(bytes(range(256)) * 16)
    local = settings.model_copy(update={"basemap": f"pmtiles:{tiles}"})

    async def main() -> None:
        async with running(local) as app, app.client() as client:
            config = (await client.get("/v1/ui-config")).json()
            assert config["basemap"] == {"kind": "pmtiles", "url": "/basemap.pmtiles"}
            part = await client.get("/basemap.pmtiles", headers={"Range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, bytes(range(10, 20)))

    asyncio.run(main())
    asyncio.run(_no_basemap(settings))


async def _no_basemap(settings: Settings) -> None:
    async with running(settings) as app, app.client() as client:
        is_problem(await client.get("/basemap.pmtiles"), 404, "not-found")


# ---------------------------------------------------------------- starting
def test_a_taken_port_is_one_clear_error() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(PortTaken, match="TOCSIN_API__PORT"):
            listen("127.0.0.1", holder.getsockname()[1])


def test_an_empty_database_is_one_clear_error(empty_postgres_url: str, tmp_path: Path) -> None:
    from api.repository import NotMigrated

    settings = Settings(database_url=SecretStr(empty_postgres_url), home=tmp_path)

    async def main() -> None:
        async with running(settings):
            pass

    with pytest.raises((NotMigrated, Exception), match=r"migrate|does not exist"):
        asyncio.run(main())


def test_a_broken_vapid_key_stops_the_start_and_a_good_one_is_told(settings: Settings, world: World) -> None:
    from api.vapid import BadVapidKey

    def with_key(text: str) -> Settings:
        deliver = settings.deliver.model_copy(update={"webpush_vapid_private_key": SecretStr(text)})
        return settings.model_copy(update={"deliver": deliver})

    async def main() -> None:
        # RFC 8291 appendix A: a P-256 key pair
        async with running(with_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")) as app, app.client() as client:
            told = (await client.get("/v1/ui-config")).json()["vapid_public_key"]
        point = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
        assert told == point

    asyncio.run(main())
    for bad in ("x", "AAAA", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"):
        with pytest.raises(BadVapidKey):
            asyncio.run(_start(with_key(bad)))


async def _start(settings: Settings) -> None:
    async with running(settings):
        pass


# ---------------------------------------------------------------- nothing that is sent makes a 500
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_TEXT = st.text(max_size=40) | st.sampled_from(
    ["1", "-1", "NaN", "1e999", "2026-07-01T00:00:00Z", "\x00", "'; --", "%s"]
)


def test_strange_input_is_never_an_internal_error(settings: Settings, world: World) -> None:
    async def main() -> None:
        async with (
            running(settings) as app,
            app.as_role(world, "approver") as approver,
            app.as_role(world, "underwriter") as underwriter,
            app.as_key(world, "operator") as machine,
            app.phone(world) as phone,
            app.client() as nobody,
        ):
            document = (await nobody.get("/v1/openapi.json")).json()
            loop = asyncio.get_running_loop()
            clients = (approver, underwriter, machine, phone, nobody)

            def one(method: str, path: str, operation: dict[str, Any], data: Any) -> Any:
                query = {}
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "query" and data.draw(st.booleans()):
                        query[parameter["name"]] = data.draw(_TEXT)
                filled = path
                for name in ("station_id", "warning_id", "answer_id", "quote_id", "version"):
                    if f"{{{name}}}" in filled:
                        known = world.ids.get(name.removesuffix("_id").replace("_id", ""), "1")
                        value = data.draw(st.sampled_from([str(known), "1", "99999999999999999999", "x"]))
                        filled = filled.replace(f"{{{name}}}", value)
                body = data.draw(_JSON) if method == "post" else None
                given = json.dumps(body).encode() if method == "post" else None
                return data.draw(st.sampled_from(clients)).request(
                    method.upper(), filled, params=query, content=given, headers={"Content-Type": "application/json"}
                )

            @hypothesis_settings(
                max_examples=300,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            )
            @given(st.data())
            def storm(data: Any) -> None:
                paths = [
                    (method, path, operation)
                    for path, methods in document["paths"].items()
                    for method, operation in methods.items()
                    if operation["operationId"] not in ("stream", "sign_out")
                ]
                method, path, operation = data.draw(st.sampled_from(paths))
                answer = asyncio.run_coroutine_threadsafe(one(method, path, operation, data), loop).result(30)
                documented = operation["responses"]
                where = (method, path, answer.status_code, answer.text[:300])
                assert answer.status_code < 500, where
                assert str(answer.status_code) in documented or answer.status_code in (400, 404, 405), where

            await asyncio.to_thread(storm)

    asyncio.run(main())
