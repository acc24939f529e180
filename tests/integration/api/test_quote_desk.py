"""The underwriter's desk over HTTP: preview, issue, PDF, stress, refer, approve, bind, work orders."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.test_acts import FLEET, INCIDENTS, SUBMISSION
from tests.integration.api.world import Console, World

pytestmark = pytest.mark.sql

ALARMED = SUBMISSION | {
    "policy_period": {"from": "2199-03-01", "to": "2200-03-01"},
    "alarms": [{"asset_id": "a1", "signal": "smart_197", "value": 120}],
}


def given(**changes: Any) -> dict[str, Any]:
    return {"submission": ALARMED | changes, "fleet_csv": FLEET, "incidents_csv": INCIDENTS}


def test_preview_is_what_issuing_stores_and_stores_nothing(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "underwriter") as client:
            before = len((await client.get("/v1/quotes")).json()["items"])
            preview = (await client.post("/v1/quotes/preview", json=given())).json()
            assert len((await client.get("/v1/quotes")).json()["items"]) == before
            issued = (await client.post("/v1/quotes", json=given())).json()
            assert issued["result"] == preview["result"]
            assert issued["insured"] == "Example Ltd"
            assert issued["decision"] == "refer"
            refused = await client.post("/v1/quotes/preview", json=given(covers=[{"cover": "meteor"}]))
            assert refused.status_code == 422
            assert "covers.0.cover" in refused.json()["detail"]

    console(body)


def test_pdf_rerun_and_stress_of_a_stored_quote(console: Any, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "underwriter") as client:
            quote = (await client.post("/v1/quotes", json=given())).json()
            at = f"/v1/quotes/{quote['quote_id']}"
            for language in ("en", "zh"):
                pdf = await client.get(f"{at}/pdf", params={"language": language})
                assert pdf.headers["content-type"] == "application/pdf"
                assert pdf.content.startswith(b"%PDF-")
            assert (await client.get(f"{at}/pdf", params={"language": "fr"})).status_code == 422
            again = (await client.post(f"{at}/rerun")).json()
            assert again == {
                "quote_id": quote["quote_id"], "same": True, "premium": quote["premium"],
                "inputs_sha256": quote["inputs_sha256"],
            }  # fmt: skip
            told = (await client.post(f"{at}/stress")).json()["result"]
            assert {item["scenario"] for item in told["scenarios"]} >= {"region_power", "ransomware", "rate_cut"}
            seeded = f"/v1/quotes/{world.ids['quote']}"
            assert (await client.get(f"{seeded}/pdf")).status_code == 404
            assert (await client.post(f"{seeded}/rerun")).status_code == 409
        async with app.as_role(other, "underwriter") as stranger:
            for path in ("pdf", "actions", "work-orders"):
                assert (await stranger.get(f"{at}/{path}")).status_code == 404
            for path in ("rerun", "stress"):
                assert (await stranger.post(f"{at}/{path}")).status_code == 404
            told = await stranger.post(f"{at}/bind", json={"reason": "x", "option": "as_asked"})
            assert told.status_code == 404

    console(body)


def test_a_referred_quote_is_bound_once_after_another_person_approved(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "underwriter") as client, app.as_role(world, "approver") as second:
            quote = (await client.post("/v1/quotes", json=given())).json()
            at = f"/v1/quotes/{quote['quote_id']}"
            bind = {"reason": "agreed by telephone", "option": "as_asked"}
            early = await client.post(f"{at}/bind", json=bind)
            assert early.status_code == 409
            assert "needs 1 approval" in early.json()["detail"]
            assert (await client.post(f"{at}/refer", json={"reason": "alarm at inception"})).status_code == 200
            assert (await client.post(f"{at}/approve", json={"reason": "mine"})).status_code == 403
            assert (await second.post(f"{at}/bind", json=bind)).status_code == 403
            assert (await second.post(f"{at}/approve", json={"reason": "replace the disk first"})).status_code == 200
            wrong = await client.post(f"{at}/bind", json=bind | {"option": "nothing"})
            assert wrong.status_code == 422
            done = (await client.post(f"{at}/bind", json=bind)).json()["items"]
            assert [item["action"] for item in done] == ["refer", "approve", "bind"]
            assert float(done[-1]["premium"]) == quote["result"]["commercial_premium"]
            again = await client.post(f"{at}/bind", json=bind)
            assert again.status_code == 409
            (listed,) = [q for q in (await client.get("/v1/quotes")).json()["items"] if q["bound"]]
            assert listed["quote_id"] == quote["quote_id"]

            (order,) = (await client.get(f"{at}/work-orders")).json()["items"]
            assert (order["asset_id"], order["action"], order["state"]) == ("a1", "replace", "open")
            assert order["hazard_before"] > 1 == order["hazard_after"]
            assert float(order["premium_after"]) < float(order["premium_before"])
            close = f"{at}/work-orders/{order['work_order_id']}/close"
            closed = (await client.post(close, json={"state": "done", "evidence": "serial 123 fitted"})).json()["items"]
            assert closed[0]["state"] == "done"
            assert (await client.post(close, json={"state": "done", "evidence": "again"})).status_code == 404
            missing = f"{at}/work-orders/{uuid4()}/close"
            assert (await client.post(missing, json={"state": "done", "evidence": "x"})).status_code == 404

    console(body)


def test_a_quote_whose_period_has_begun_or_that_was_declined_is_not_bound(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "underwriter") as client, app.as_role(world, "approver") as second:
            old = (await client.post("/v1/quotes", json=given(policy_period=SUBMISSION["policy_period"]))).json()
            bind = {"reason": "late", "option": "as_asked"}
            await second.post(f"/v1/quotes/{old['quote_id']}/approve", json={"reason": "ok"})
            late = await client.post(f"/v1/quotes/{old['quote_id']}/bind", json=bind)
            assert late.status_code == 409
            quote = (await client.post("/v1/quotes", json=given(insured="Other"))).json()
            at = f"/v1/quotes/{quote['quote_id']}"
            assert (await client.post(f"{at}/decline", json={"reason": "no appetite"})).status_code == 200
            assert (await client.post(f"{at}/bind", json=bind)).status_code == 409
            assert (await client.post(f"{at}/refer", json={"reason": ""})).status_code == 422

    console(body)
