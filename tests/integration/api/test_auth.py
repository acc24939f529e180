"""Who gets in, who does not, and how long guessing takes."""

import asyncio
import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from alerts.links import Link, sign_link
from api import auth
from api.auth import Passwords
from store.pool import worker_pool
from tests.integration.api.world import CHEAP, NOW, PASSWORD, ROLES, Console, Sync, World


def test_sign_in_gives_a_cookie_that_scripts_cannot_read(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            answer = await client.post("/v1/session", json={"login": " INSURER@acme ", "password": PASSWORD})
            assert answer.status_code == 200
            cookie = answer.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert "Path=/" in cookie
            assert "Secure" not in cookie  # plain http on loopback
            me = answer.json()
            assert (me["login"], me["roles"], me["tenant"]["slug"]) == ("insurer@acme", ["insurer"], "acme")
            assert "read overview" in me["may"]
            assert "approve warning" not in me["may"]
            assert (await client.get("/v1/me")).json() == me

    console(body)


def test_the_cookie_is_secure_behind_https(settings: Any, world: World) -> None:
    from tests.integration.api.world import running

    secure = settings.model_copy(update={"api": settings.api.model_copy(update={"public_url": "https://x.example"})})

    async def main() -> None:
        async with running(secure) as app, app.client() as client:
            answer = await client.post("/v1/session", json={"login": "insurer@acme", "password": PASSWORD})
            assert "Secure" in answer.headers["set-cookie"]
            assert answer.headers["strict-transport-security"]

    asyncio.run(main())


def test_the_session_token_itself_is_stored_nowhere(console: Any, world: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            token = client.cookies["tocsin_session"]
        row = worker.execute("SELECT token_sha256 FROM session").fetchone()
        assert row is not None
        assert bytes(row[0]) == hashlib.sha256(token.encode()).digest()

    console(body)


def test_a_session_ends_by_sign_out_by_time_and_with_the_account(console: Any, world: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            token = client.cookies["tocsin_session"]
            assert (await client.delete("/v1/session")).status_code == 204
            again = app.client(Cookie=f"tocsin_session={token}")
            assert (await again.get("/v1/me")).status_code == 401
        async with app.as_role(world, "insurer") as client:
            worker.execute("UPDATE session SET expires_at = now() - interval '1 second'")
            assert (await client.get("/v1/me")).status_code == 401
        async with app.as_role(world, "insurer") as client:
            worker.execute("UPDATE principal SET roles = '{partner}' WHERE login = 'insurer@acme'")
            assert (await client.get("/v1/overview")).status_code == 403
            worker.execute("UPDATE principal SET disabled_at = now() WHERE login = 'insurer@acme'")
            assert (await client.get("/v1/me")).status_code == 401
            refused = await client.post("/v1/session", json={"login": "insurer@acme", "password": PASSWORD})
            assert refused.status_code == 401

    console(body)


def test_wrong_name_and_wrong_password_look_the_same(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            answers = [
                await client.post("/v1/session", json={"login": login, "password": "nope"})
                for login in ("insurer@acme", "nobody@acme")
            ]
        told = [{**one.json(), "request_id": ""} for one in answers]
        assert [one.status_code for one in answers] == [401, 401]
        assert told[0] == told[1]
        assert "set-cookie" not in answers[0].headers

    console(body)


def test_an_unknown_name_costs_a_hash_too() -> None:
    class Counting:
        n_verified = 0

        def hash(self, password: str) -> str:
            return "stored"

        def verify(self, hash: str, password: str) -> bool:
            self.n_verified += 1
            return True

        def check_needs_rehash(self, hash: str) -> bool:
            return False

    async def main() -> None:
        counting = Counting()
        passwords = Passwords(counting)
        assert await passwords.verify("stored", "x") is True
        assert await passwords.verify(None, "x") is False  # right against the decoy is still wrong
        assert counting.n_verified == 2

    asyncio.run(main())


def test_at_most_two_hashes_run_at_once_and_few_wait() -> None:
    class Slow:
        now = highest = 0

        def hash(self, password: str) -> str:
            return "x"

        def verify(self, hash: str, password: str) -> bool:
            import time

            self.now += 1
            self.highest = max(self.highest, self.now)
            time.sleep(0.02)
            self.now -= 1
            return True

        def check_needs_rehash(self, hash: str) -> bool:
            return False

    async def main() -> None:
        slow = Slow()
        passwords = Passwords(slow)
        done = await asyncio.gather(*(passwords.verify("x", "y") for _ in range(60)), return_exceptions=True)
        assert slow.highest == 2
        assert sum(one is True for one in done) == 32
        assert sum(isinstance(one, auth.TooManyTries) for one in done) == 28

    asyncio.run(main())


def test_guessing_is_slowed_down_per_account(console: Any, world: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:

            async def guess(password: str, login: str = "insurer@acme") -> Any:
                return await client.post("/v1/session", json={"login": login, "password": password})

            for _ in range(11):
                assert (await guess("wrong")).status_code == 401
            for password in ("wrong", PASSWORD):  # also the right one has to wait
                locked = await guess(password)
                assert locked.status_code == 429
                assert 25 <= int(locked.headers["retry-after"]) <= 30
                assert locked.json()["type"] == "urn:tocsin:problem:too-many-tries"
            # a name that does not exist is slowed down just the same
            for _ in range(11):
                await guess("wrong", "nobody@acme")
            assert (await guess("wrong", "nobody@acme")).status_code == 429
            # others get in
            assert (await guess(PASSWORD, "approver@acme")).status_code == 200
            # the wait is over: one try, and the next wait is twice as long
            worker.execute("UPDATE login_throttle SET blocked_until = now() WHERE blocked_until IS NOT NULL")
            assert (await guess("wrong")).status_code == 401
            assert 55 <= int((await guess("wrong")).headers["retry-after"]) <= 60
            worker.execute("UPDATE login_throttle SET blocked_until = now() WHERE blocked_until IS NOT NULL")
            assert (await guess(PASSWORD)).status_code == 200
            for _ in range(5):
                assert (await guess("wrong")).status_code == 401  # counted from the start again

    console(body)


def test_guesses_in_parallel_are_counted_before_they_are_checked(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            answers = await asyncio.gather(
                *(
                    client.post("/v1/session", json={"login": "insurer@acme", "password": f"guess {n}"})
                    for n in range(30)
                )
            )
        assert sum(one.status_code == 401 for one in answers) == 11
        assert sum(one.status_code == 429 for one in answers) == 19

    console(body)


def test_guessing_many_names_is_slowed_down_per_address(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            codes = [
                (await client.post("/v1/session", json={"login": f"name{n}", "password": "x"})).status_code
                for n in range(53)
            ]
        assert codes == [401] * 51 + [429] * 2

    console(body)


def test_another_sites_request_is_refused(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "approver") as client:
            path = f"/v1/answers/{world.ids['answer']}/handled"
            for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
                assert (await client.post(path, headers=headers)).status_code == 403, headers
            login = {"login": "insurer@acme", "password": PASSWORD}
            forced = await client.post("/v1/session", json=login, headers={"Origin": "https://evil.example"})
            assert forced.status_code == 403
            own = {"Origin": "http://tocsin.test", "Sec-Fetch-Site": "same-origin"}
            assert (await client.post(path, headers=own)).status_code == 200

    console(body)


def test_keys_open_what_machines_may_do_and_no_more(console: Any, world: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        async with app.as_key(world, "operator") as key:
            assert (await key.get("/v1/stations")).status_code == 200
            assert (await key.get("/v1/me")).json()["principal_id"] is None
            assert (await key.post("/v1/sending/pause", json={})).status_code == 403  # people only
            worker.execute("UPDATE api_key SET roles = '{admin,approver}'")  # roles that no key may carry
            assert (await key.get("/v1/stations")).status_code == 403
            worker.execute("UPDATE api_key SET roles = '{operator}', revoked_at = now()")
            assert (await key.get("/v1/stations")).status_code == 401
        async with app.client(Authorization="Bearer tocsin_key_guess") as guess:
            assert (await guess.get("/v1/stations")).status_code == 401
        async with app.phone(world) as phone:  # a link's token is no key
            assert (await phone.get("/v1/stations")).status_code == 401

    console(body)


def _forged(app: Console, world: World) -> list[str]:
    good = app.token(world)
    body, signature = good.split(".")
    flipped = base64.urlsafe_b64encode(bytes(64 ^ one for one in base64.urlsafe_b64decode(body + "==="))).decode()
    link = Link(
        tenant_id=world.tenant_id, policyholder_id=world.ids["person"], warning_id=None, expires_at=NOW + timedelta(1)
    )
    return [
        "",
        "x",
        ".",
        body,
        f"{body}.",
        f".{signature}",
        f"{flipped}.{signature}",
        f"{body}.{signature[:-2]}AA",
        f"{body}.{signature}=",
        good + "x",
        sign_link(link, key=b"another key, 16+ bytes"),
        app.token(world, valid=timedelta(seconds=-1)),
        "tocsin_key_" + "a" * 40,
        "é" * 40,
        "a" * 1500,
    ]


def test_links_that_were_not_signed_here_or_are_over_open_nothing(console: Any, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            assert (await client.get("/v1/public/now")).status_code == 401
            for token in _forged(app, world):
                answer = await client.get("/v1/public/now", params={"t": token})
                assert answer.status_code == 401, token
                assert answer.headers["content-type"] == "application/problem+json"
                assert "no_warning" not in answer.text
        # a person of one tenant under the other tenant's name
        crossed = Link(
            tenant_id=other.tenant_id,
            policyholder_id=world.ids["person"],
            warning_id=None,
            expires_at=NOW + timedelta(days=1),
        )
        from alerts.links import secret_key

        async with app.client() as client:
            token = sign_link(crossed, key=secret_key(app.settings))
            assert (await client.get("/v1/public/now", params={"t": token})).status_code == 401
        async with app.as_role(world, "insurer") as signed_in:  # a session is no link
            assert (await signed_in.get("/v1/public/now")).status_code == 401

    console(body)


def test_accounts_are_made_with_a_password_that_works(console: Any, settings: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with worker_pool(settings, size=1) as pool:
            passwords = Passwords(CHEAP)
            made = await auth.create_account(
                pool, passwords, login="New@Acme", tenant="acme", roles=["operator"], display_name="New"
            )
            for wrong in (
                {"login": "new@acme", "roles": ["operator"]},
                {"login": "x", "roles": ["king"]},
                {"login": "x", "roles": []},
                {"login": "x", "roles": ["approver", "admin"]},
                {"login": " ", "roles": ["operator"]},
                {"login": "x", "roles": ["operator"], "password": "short"},
            ):
                with pytest.raises(auth.BadAccount):
                    await auth.create_account(pool, passwords, tenant="acme", **wrong)  # type: ignore[arg-type]
            with pytest.raises(auth.InvalidInput, match="tenant"):
                await auth.create_account(pool, passwords, login="y", tenant="Bad Slug", roles=["operator"])
            with pytest.raises(auth.BadAccount, match="roles"):
                await auth.create_key(pool, name="k", tenant="acme", roles=["approver"])
        async with app.client() as client:
            answer = await client.post("/v1/session", json={"login": "new@acme", "password": made})
            assert answer.status_code == 200
            assert answer.json()["display_name"] == "New"

    console(body)


def test_an_old_hash_is_renewed_at_sign_in(console: Any, world: World, worker: Sync) -> None:
    from argon2 import PasswordHasher

    weaker = PasswordHasher(time_cost=1, memory_cost=9, parallelism=1)
    worker.execute("UPDATE principal SET password_hash = %s WHERE login = 'insurer@acme'", [weaker.hash(PASSWORD)])

    async def body(app: Console) -> None:
        for _ in range(2):
            async with app.as_role(world, "insurer"):
                pass
        row = worker.execute("SELECT password_hash FROM principal WHERE login = 'insurer@acme'").fetchone()
        assert row is not None
        assert "m=8," in row[0]

    console(body)


def test_real_hashes_are_argon2id_at_the_recommended_cost() -> None:
    stored = asyncio.run(Passwords().hash("x"))
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # RFC 9106, second recommended option


#: What every signed-in role may do, by hand, beside api/policy.py: (method, path) of what answers anything but 403.
OPEN_TO = {
    "/v1/overview": {"insurer", "approver", "operator", "admin", "underwriter"},
    "/v1/stations": set(ROLES),
    "/v1/footprints/latest": set(ROLES),
    "/v1/safe-zones": set(ROLES),
    "/v1/assessments/latest": {"insurer", "approver", "operator", "admin", "underwriter"},
    "/v1/assessments/latest/losses": {"insurer", "approver", "operator", "admin", "underwriter"},
    "/v1/exposure/cells": {"insurer", "approver", "operator", "admin", "underwriter"},
    "/v1/locations": {"insurer", "approver", "operator", "admin", "underwriter"},
    "/v1/evacuation-plans/latest": {"insurer", "approver", "operator", "admin"},
    "/v1/evacuation-plans/latest/routes": {"insurer", "approver", "operator", "admin"},
    "/v1/warnings": {"insurer", "approver", "operator", "admin"},
    "/v1/answers": {"insurer", "approver", "operator", "admin"},
    "/v1/quotes": {"underwriter", "approver", "admin"},
    "/v1/sending": {"insurer", "approver", "operator", "admin"},
    "/v1/cap/feed": {"insurer", "approver", "operator", "partner", "admin"},
    "/v1/feeds": {"insurer", "approver", "operator", "admin"},
    "/v1/cases": {"insurer", "approver", "operator", "admin"},
    "/v1/notices": {"insurer", "approver", "operator", "admin"},
    "/v1/avoided-losses": {"insurer", "approver", "operator", "admin"},
    "/v1/rules": {"insurer", "approver", "operator", "admin"},
    "/v1/rules/proposals": {"insurer", "approver", "operator", "admin"},
    "/v1/silences": {"insurer", "approver", "operator", "admin"},
    "/v1/level-scheme": {"insurer", "approver", "operator", "admin"},
    "/v1/roads": set(ROLES),
    "/v1/road-overrides": {"insurer", "approver", "operator", "admin"},
    "/v1/official-orders": {"insurer", "approver", "operator", "admin"},
}


def test_each_role_reads_what_it_may_and_nothing_else(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        for role in ROLES:
            async with app.as_role(world, role) as client:
                for path, who in OPEN_TO.items():
                    expected = 200 if role in who else 403
                    assert (await client.get(path)).status_code == expected, (role, path)

    console(body)


def test_no_role_acts_beyond_its_own(console: Any, world: World) -> None:
    draft = world.ids["draft"]
    acts: dict[str, tuple[dict[str, Any], set[str]]] = {
        f"/v1/warnings/{draft}/1/approve": ({"content_sha256": "00" * 32}, {"approver"}),
        f"/v1/warnings/{draft}/1/reject": ({"reason": "x"}, {"approver"}),
        "/v1/sending/pause": ({}, {"approver", "operator"}),
        "/v1/sending/resume": ({}, {"approver", "operator"}),
        f"/v1/answers/{world.ids['answer']}/handled": ({}, {"insurer", "approver", "operator"}),
        f"/v1/warnings/{draft}/cancel": ({"reason": "x"}, {"approver"}),
        f"/v1/cases/{world.ids['answer']}": ({"act": "assign"}, {"insurer", "approver", "operator"}),
        f"/v1/notices/{draft}/seen": ({}, {"approver", "operator"}),
        "/v1/road-overrides": ({"action": "close", "reason": "a tree", "way": 1}, {"approver", "operator"}),
        "/v1/official-orders": ({}, {"approver", "operator"}),
        "/v1/quotes": ({"submission": {}, "fleet_csv": "x", "incidents_csv": "x"}, {"underwriter"}),
    }

    async def body(app: Console) -> None:
        for role in ROLES:
            async with app.as_role(world, role) as client:
                for path, (given, who) in acts.items():
                    if role in who:
                        continue
                    answer = await client.post(path, json=given)
                    assert answer.status_code == 403, (role, path)
                    assert answer.json()["type"] == "urn:tocsin:problem:not-permitted"

    console(body)


def test_every_plain_read_stands_in_the_table_above(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            document = (await client.get("/v1/openapi.json")).json()
        plain = {
            path
            for path, operations in document["paths"].items()
            if "get" in operations and "{" not in path and operations["get"]["security"] not in ([], [{"link": []}])
        }
        assert plain - {"/v1/me", "/v1/stream"} == set(OPEN_TO)

    console(body)
