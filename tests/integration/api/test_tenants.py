"""Every operation of openapi.json, asked by everybody about everybody's objects.

The matrix is made from the document itself, so an operation that is added is asked too. `EXAMPLES` names an object of
each kind of path parameter and a body for each act; an operation that needs one that is not there fails the test.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from alerts.rule_desk import rule_sha256
from core.ids import new_id
from tests.integration.api.test_acts import FLEET, INCIDENTS, SUBMISSION, subscription
from tests.integration.api.world import NOW, PROPOSED, Console, Sync, World

#: Path parameter -> the seeded object that it names.
OBJECTS = {"station_id": "station", "warning_id": "draft", "answer_id": "answer", "quote_id": "quote",
           "household_id": "person_household", "road_override_id": "override", "official_order_id": "order",
           "work_order_id": "quote", "notice_id": "notice", "rule_id": "station_rule",
           "proposal_id": "proposal", "silence_id": "silence"}  # fmt: skip
#: Where an operation is about another object than the one its parameter usually names.
OBJECTS_OF = {
    "cancel": {"warning_id": "warning"},
    "reject_rule": {"proposal_id": "other_proposal"},
    "end_silence": {"silence_id": "other_silence"},
}
#: Bodies that would act, were they allowed. `{delivery}` and `{warning}` stand for objects of the world asked about.
BODIES: dict[str, dict[str, Any]] = {
    "sign_in": {"login": "insurer@acme", "password": "wrong on purpose"},
    "approve": {"content_sha256": "ab" * 32},
    "reject": {"reason": "matrix"},
    "pause": {"scope": "warning", "warning_id": "{warning}"},
    "resume": {"scope": "warning", "warning_id": "{warning}"},
    "handled": {},
    "override_road": {"action": "close", "reason": "matrix", "lon": 79.9, "lat": 6.92},
    "withdraw_override": {},
    "withdraw_order": {},
    "issue_order": {
        "kind": "stay",
        "authority": "Matrix",
        "issued_at": "2030-01-01T00:00:00Z",
        "expires_at": "2030-01-02T00:00:00Z",
        "area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},  # type: ignore[dict-item]
    },
    "issue": {"submission": SUBMISSION, "fleet_csv": FLEET, "incidents_csv": INCIDENTS},
    "preview": {"submission": SUBMISSION, "fleet_csv": FLEET, "incidents_csv": INCIDENTS},
    "rerun": {},
    "stress": {},
    "refer_quote": {"reason": "matrix"},
    "approve_quote": {"reason": "matrix"},
    "decline_quote": {"reason": "matrix"},
    "bind_quote": {"reason": "matrix", "option": "as_asked"},
    "close_work_order": {"state": "done", "evidence": "matrix"},
    "cancel": {"reason": "matrix"},
    "act_on_case": {"act": "assign"},
    "see_notice": {},
    "try_rule": {"rule": {"code": "m", "kind": "bulletin", "senders": ["matrix"]}},
    "keep_rule": {"rule": {"code": "m", "kind": "bulletin", "senders": ["matrix"]}},
    "retire_rule": {"reason": "matrix"},
    "agree_to_rule": {"content_sha256": rule_sha256(PROPOSED).hex()},
    "reject_rule": {"reason": "matrix"},
    "make_silence": {"peril": "flood", "ends_at": (NOW + timedelta(hours=2)).isoformat(), "reason": "matrix"},
    "agree_to_silence": {},
    "end_silence": {},
    "set_level_scheme": {"names": {"red": {"en": "Matrix"}}},
    "provider_status": {"reference": "{delivery}", "status": "delivered"},
    "provider_reply": {"reply_id": "matrix-1", "from_number": "+94770000000", "text": "1"},
    "public_step": {"step": "cut_power", "warning_id": "{warning}"},
    "post_observations": [{"n": "level", "t": 1785400000, "v": 4.5}],  # type: ignore[dict-item]
    "public_answer": {"kind": "safe", "idempotency_key": "matrix-key-1", "warning_id": "{warning}"},
    "public_receipt": {"delivery_id": "{delivery}", "kind": "displayed"},
    "public_push_subscription": subscription(77),
}
QUERIES = {"post_observations": {"station": "{station_code}"}, "observations": {"quantity": "level"}}
#: Operations that name an object of one tenant, in the path, the query or the body.
NAMES_AN_OBJECT = {
    "observations", "warning", "cap", "approve", "reject", "pause", "resume", "handled", "quote", "post_observations",
    "public_answer", "public_receipt", "quote_pdf", "rerun", "stress", "quote_actions", "refer_quote", "approve_quote",
    "decline_quote", "bind_quote", "quote_work_orders", "close_work_order",
    "household_route", "household_route_gpx", "withdraw_override", "withdraw_order", "cancel", "act_on_case",
    "see_notice", "public_step", "retire_rule", "rule_versions", "agree_to_rule", "reject_rule", "agree_to_silence",
    "end_silence",
    "answer_photo", "provider_status", "provider_reply",
}  # fmt: skip
#: Who is allowed in, by hand: the oracle beside api/policy.py. "link" is a policyholder's, "key" a device's.
WATCH = {"insurer", "approver", "operator", "admin"}
BOOK = WATCH | {"underwriter"}
ALL = BOOK | {"partner"}
PRICED = {"underwriter", "approver", "admin"}
ALLOWED: dict[str, set[str]] = {
    "sign_out": ALL, "me": ALL | {"key"}, "stations": ALL, "observations": ALL, "latest_footprints": ALL,
    "overview": BOOK, "latest_assessments": BOOK, "latest_losses": BOOK, "cells": BOOK, "locations": BOOK, "latest_plan": WATCH,
    "latest_routes": WATCH, "safe_zones": ALL, "warnings": WATCH, "warning": WATCH, "cap": WATCH | {"partner"},
    "approve": {"approver"}, "reject": {"approver"}, "sending": WATCH, "pause": {"approver", "operator"},
    "resume": {"approver", "operator"}, "answers": WATCH, "handled": {"insurer", "approver", "operator"},
    "quotes": PRICED, "quote": PRICED, "quote_pdf": PRICED, "rerun": PRICED, "stress": PRICED, "quote_actions": PRICED,
    "quote_work_orders": PRICED, "issue": {"underwriter"}, "preview": {"underwriter"}, "refer_quote": {"underwriter"},
    "bind_quote": {"underwriter"},
    "approve_quote": {"approver", "admin"}, "decline_quote": {"underwriter", "approver"},
    "close_work_order": {"underwriter", "operator"},
    "post_observations": {"operator", "key"}, "stream": ALL, "public_now": {"link"}, "public_answer": {"link"},
    "public_receipt": {"link"}, "public_push_subscription": {"link"}, "household_route": WATCH,
    "household_route_gpx": WATCH, "public_route": {"link"}, "public_route_gpx": {"link"}, "road_layer": ALL,
    "road_overrides": WATCH, "override_road": {"approver", "operator"}, "withdraw_override": {"approver", "operator"},
    "feeds": WATCH, "cap_feed": WATCH | {"partner"}, "cancel": {"approver"}, "help_cases": WATCH,
    "act_on_case": {"insurer", "approver", "operator"}, "notices": WATCH, "see_notice": {"approver", "operator"},
    "avoided_losses": WATCH, "public_step": {"link"},
    "rules": WATCH, "rule_versions": WATCH, "rule_proposals": WATCH, "list_silences": WATCH, "level_scheme": WATCH,
    "try_rule": {"approver", "operator"}, "keep_rule": {"approver", "operator"}, "retire_rule": {"approver", "operator"},
    "set_level_scheme": {"approver", "operator"}, "agree_to_rule": {"approver"}, "reject_rule": {"approver"},
    "make_silence": {"approver", "operator"}, "agree_to_silence": {"approver", "operator"},
    "end_silence": {"approver", "operator"}, "answer_photo": WATCH,
    "provider_status": {"provider"}, "provider_reply": {"provider"},
    "official_orders": WATCH, "issue_order": {"approver", "operator"}, "withdraw_order": {"approver", "operator"},
}  # fmt: skip
#: Let in by a signature over the body and by nothing else: test_providers.py signs.
SIGNED = {"provider_status", "provider_reply"}
PUBLIC = {"ui_config", "health", "ready", "sign_in"}
#: Acts on a quote that was made from real inputs, which the seeded one was not: test_quote_desk.py does them.
QUOTE_ACTS = {
    "preview", "rerun", "stress", "refer_quote", "approve_quote", "decline_quote", "bind_quote", "close_work_order",
}  # fmt: skip
TABLES = (
    "approval", "warning", "decision", "sending_pause", "answer", "receipt", "contact_point", "quote", "idempotency",
    "audit", "quote_action", "work_order", "delivery", "observation", "outbox", "principal", "session", "tenant", "road_override", "official_order",
    "operator_notice", "help_case", "step_done", "rule", "rule_proposal", "silence", "level_scheme",
)  # fmt: skip


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str

    def request(self, about: World | None) -> dict[str, Any]:
        """The request about a world's objects; about none that exist where there is no world."""

        def known(kind: str) -> str:
            return str(about.ids[kind]) if about else str(new_id())

        def fill(value: Any) -> Any:
            if value == "{station_code}":
                return f"station-{about.slug}" if about else "station-nowhere"
            if isinstance(value, str) and re.fullmatch(r"\{\w+\}", value):
                return known(value[1:-1])
            return value

        path = self.path
        for parameter in re.findall(r"\{(\w+)\}", self.path):
            plain = {"version": "1", "channel": "sms"}.get(parameter)
            value = plain or known((OBJECTS | OBJECTS_OF.get(self.name, {}))[parameter])
            path = path.replace(f"{{{parameter}}}", value)
        asked: dict[str, Any] = {"method": self.method, "url": path}
        if self.name in QUERIES:
            asked["params"] = {name: fill(value) for name, value in QUERIES[self.name].items()}
        if self.name in BODIES:
            body = BODIES[self.name]
            asked["json"] = {k: fill(v) for k, v in body.items()} if isinstance(body, dict) else body
        return asked


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Operation(operation["operationId"], method.upper(), path)


def rows(worker: Sync, tenant: UUID | None = None) -> dict[str, Any]:
    """What stands in the tables that acts write, so that a refused act can be seen to have written nothing."""
    found = {}
    for table in TABLES:
        row = worker.execute(
            f"SELECT count(*), md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t"
        )
        found[table] = row.fetchone()
    return found


def same_but_for_the_request_id(one: httpx.Response, other: httpx.Response) -> bool:
    def told(answer: httpx.Response) -> tuple[Any, ...]:
        body = {**answer.json(), "request_id": ""}
        headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "content-length")}
        return answer.status_code, body, headers

    return told(one) == told(other)


def test_the_oracle_knows_every_operation(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            document = (await client.get("/v1/openapi.json")).json()
        names = {one.name for one in operations(document)}
        assert names == set(ALLOWED) | PUBLIC
        acting = {one.name for one in operations(document) if one.method == "POST"}
        assert acting == set(BODIES)
        with_parameters = {one.name for one in operations(document) if "{" in one.path}
        assert with_parameters <= NAMES_AN_OBJECT

    console(body)


def test_without_a_session_key_or_link_nothing_is_told(console: Any, world: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        app.settings.deliver.callback_secret = SecretStr("s" * 40)
        async with app.client() as nobody, app.client(Cookie="tocsin_session=expired") as expired:
            document = (await nobody.get("/v1/openapi.json")).json()
            before = rows(worker)
            for operation in operations(document):
                for client in (nobody, expired):
                    answer = await client.request(**operation.request(world))
                    if operation.name in PUBLIC:
                        assert answer.status_code == (401 if operation.name == "sign_in" else 200), operation
                    else:
                        assert answer.status_code == 401, operation
                        assert answer.headers["content-type"] == "application/problem+json"
                        assert answer.headers["www-authenticate"].startswith("Bearer")
            assert rows(worker) == before

    console(body)


@pytest.mark.parametrize("who", ["insurer", "approver", "underwriter", "partner", "admin", "operator", "key", "link"])
def test_another_tenants_object_is_as_if_it_did_not_exist(
    console: Any, world: World, other: World, worker: Sync, who: str
) -> None:
    async def body(app: Console) -> None:
        app.settings.deliver.callback_secret = SecretStr("s" * 40)
        if who == "link":
            opening: Any = app.phone(world)
        elif who == "key":
            opening = app.as_key(world, "device")
        else:
            opening = app.as_role(world, who)
        async with opening as client:
            document = (await client.get("/v1/openapi.json")).json()
            secrets = [str(one) for one in other.ids.values() if isinstance(one, UUID)] + [f"@{other.slug}"]
            asked = [one for one in operations(document) if one.name not in PUBLIC | {"stream", "sign_out"}]
            before = rows(worker)
            for operation in asked:
                allowed = who in ALLOWED[operation.name]
                if not allowed:
                    answer = await client.request(**operation.request(world))
                    wrong_door = (who == "link") != (ALLOWED[operation.name] == {"link"})
                    signed = operation.name in SIGNED
                    assert answer.status_code == (401 if wrong_door or signed else 403), operation
                elif operation.name in NAMES_AN_OBJECT:
                    if (operation.name, who) in {("pause", "operator"), ("resume", "operator")}:
                        continue  # an operator stops everything or nothing: refused for any one warning
                    foreign = await client.request(**operation.request(other))
                    missing = await client.request(**operation.request(None))
                    if operation.name == "post_observations":
                        assert foreign.status_code == missing.status_code == 422
                    else:
                        assert foreign.status_code == missing.status_code == 404, operation
                        assert same_but_for_the_request_id(foreign, missing), operation
                elif operation.method == "GET":
                    answer = await client.request(**operation.request(world))
                    assert answer.status_code == 200, (operation, answer.text)
                    for secret in secrets:
                        assert secret not in answer.text, (operation, secret)
            after = rows(worker)
            assert after == before

    console(body)


def test_the_matrix_would_notice_an_act(console: Any, world: World, worker: Sync) -> None:
    """The same requests about one's own objects do write: a matrix that asks wrongly would pass for nothing."""

    async def body(app: Console) -> None:
        async with app.client() as client:
            document = (await client.get("/v1/openapi.json")).json()
        wrote = set()
        for operation in operations(document):
            if operation.method != "POST" or operation.name in PUBLIC | SIGNED | {"approve", "try_rule"} | QUOTE_ACTS:
                continue
            allowed = ALLOWED[operation.name]
            if allowed == {"link"}:
                opening: Any = app.phone(world)
            else:
                opening = app.as_role(world, sorted(allowed - {"key"})[0])
            async with opening as client:
                before = rows(worker)
                answer = await client.request(**operation.request(world))
                assert answer.status_code in (200, 201), (operation, answer.text)
                if rows(worker) != before:
                    wrote.add(operation.name)
        assert wrote == {name for name in BODIES if name not in PUBLIC | SIGNED | {"approve", "try_rule"} | QUOTE_ACTS}

    console(body)


def test_the_overview_counts_one_tenant_only(console: Any, world: World, other: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            mine = (await client.get("/v1/overview")).json()
        for table in ("answer", "receipt", "delivery", "approval", "decision", "warning_recipient", "warning"):
            worker.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [other.tenant_id])
        async with app.as_role(world, "insurer") as client:
            alone = (await client.get("/v1/overview")).json()
        assert {**mine, "as_of": ""} == {**alone, "as_of": ""}

    console(body)
