"""The policy table, and that nothing is served without a row of it."""

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import Route

from api import openapi, policy
from api.app import create_app
from api.deps import needs
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


async def _nothing() -> None:
    """A route that does nothing."""


def test_what_is_not_in_the_table_is_refused() -> None:
    assert not policy.may(policy.SIGNED_IN, "delete", "warning")
    assert not policy.may(frozenset(), "read", "warning")
    assert policy.may(frozenset(), "read", "health")


def test_duties_are_separated() -> None:
    assert policy.may({"approver"}, "approve", "warning")
    for role in policy.SIGNED_IN - {"approver"} | policy.KEY_ROLES | {policy.POLICYHOLDER}:
        assert not policy.may({role}, "approve", "warning"), role
    assert "approver" not in policy.KEY_ROLES
    assert "admin" not in policy.KEY_ROLES
    assert ("approve", "warning") in policy.PERSONS_ONLY


def test_a_policyholder_reaches_only_what_is_their_own() -> None:
    own = {pair for pair, who in policy.POLICY.items() if policy.POLICYHOLDER in who}
    assert all(obj.startswith("own-") for _, obj in own)
    assert all(who == {policy.POLICYHOLDER} for (_, obj), who in policy.POLICY.items() if obj.startswith("own-"))


@pytest.mark.parametrize(
    "dependencies", [[], [needs("read", "nonsense")], [needs("read", "me"), needs("read", "station")]]
)
def test_a_route_without_one_policy_stops_the_start(dependencies: list[object]) -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    router = APIRouter(dependencies=dependencies)  # type: ignore[arg-type]
    router.get("/v1/bare")(_nothing)
    app.router.routes.extend(router.routes)
    with pytest.raises(policy.NoPolicy, match="/v1/bare"):
        policy.check_routes(app.routes)


def test_a_plain_route_without_a_policy_stops_the_start_too() -> None:
    with pytest.raises(policy.NoPolicy, match="/plain"):
        policy.check_routes([Route("/plain", _nothing)])


def test_every_stream_event_has_an_object_of_the_table() -> None:
    from core.events import SUBSCRIPTIONS

    streamed = {kind for kind, consumers in SUBSCRIPTIONS.items() if "stream" in consumers}
    assert set(policy.STREAM_OBJECTS) == streamed
    assert all(("read", obj) in policy.POLICY for obj in policy.STREAM_OBJECTS.values())


def test_the_committed_openapi_document_is_the_applications() -> None:
    committed = (ROOT / "web" / "openapi.json").read_text(encoding="utf-8")
    assert committed == openapi.text(create_app(Settings())), "run: python -m tocsin openapi > web/openapi.json"


def test_every_operation_documents_its_problems_and_its_policy() -> None:
    document = openapi.document(create_app(Settings()))
    names = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            names.add(operation["operationId"])
            assert operation["x-policy"], where
            assert operation["description"], where
            if operation["security"]:
                assert "401" in operation["responses"], where
            for code, answer in operation["responses"].items():
                if code >= "400" and code != "503":
                    assert list(answer["content"]) == ["application/problem+json"], where
    assert len(names) == sum(len(operations) for operations in document["paths"].values())
