"""The quotes' part of the stand-in: real prices of a simulated submission, kept in memory."""

import uuid
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from api.schemas import quote as qu
from itops import pdf, underwrite
from itops.stress import plain_stress
from tests.e2e.world import World

NOW = datetime(2026, 1, 20, 9, 30, tzinfo=UTC)
MAY = ["read quote", "issue quote", "refer quote", "decline quote", "bind quote", "close work-order"]


def add_quote_routes(app: FastAPI, world: World) -> None:
    """Adds /v1/quotes and what lies below it."""

    def summary(quote_id: UUID, priced: Any) -> dict[str, Any]:
        result = priced.result()
        return {
            "quote_id": quote_id, "as_of": result["as_of"], "model_version": result["model_version"],
            "premium": result["premium"], "currency": result["currency"], "issued_at": NOW, "issued_by": None,
            "exposure_from": result["exposure_window"]["from"], "exposure_to": result["exposure_window"]["to"],
            "inputs_sha256": result["inputs_sha256"], "insured": result["insured"], "decision": result["decision"],
            "commercial_premium": result["commercial_premium"], "bound": False,
        }  # fmt: skip

    def out(quote_id: UUID) -> Any:
        priced = world.quotes[quote_id]
        fields = {name: value for name, value in summary(quote_id, priced).items() if name in qu.QuoteOut.model_fields}
        return qu.QuoteOut(**fields, submission={}, result=priced.result())

    @app.get("/v1/quotes")
    async def quotes() -> qu.QuotePage:
        rows = [summary(quote_id, priced) for quote_id, priced in world.quotes.items()]
        wanted = qu.QuoteSummary.model_fields
        return qu.QuotePage(
            items=[qu.QuoteSummary(**{k: v for k, v in row.items() if k in wanted}) for row in rows], next_cursor=None
        )

    @app.post("/v1/quotes/preview")
    async def preview(body: qu.QuoteRequest) -> qu.QuotePreview:
        priced = underwrite.price_request(body.submission, body.fleet_csv, body.incidents_csv)
        return qu.QuotePreview(result=priced.result())

    @app.post("/v1/quotes", status_code=201)
    async def issue(body: qu.QuoteRequest) -> Any:
        priced = underwrite.price_request(body.submission, body.fleet_csv, body.incidents_csv)
        quote_id = uuid.uuid5(uuid.NAMESPACE_URL, priced.quote.inputs_sha256)
        world.quotes[quote_id] = priced
        world.orders[quote_id] = [
            {
                "work_order_id": uuid.uuid5(quote_id, order.asset_id), "asset_id": order.asset_id,
                "signal": order.signal, "value": order.value, "action": order.action,
                "hazard_before": order.hazard_before, "hazard_after": order.hazard_after,
                "premium_before": 1000, "premium_after": 900, "origin": "inception", "state": "open",
                "opened_at": NOW, "closed_at": None, "closed_by": None, "evidence": None,
            }
            for order in priced.quote.orders
        ]  # fmt: skip
        return out(quote_id)

    @app.get("/v1/quotes/{quote_id}")
    async def one(quote_id: UUID) -> Any:
        return out(quote_id)

    @app.get("/v1/quotes/{quote_id}/actions")
    async def actions(quote_id: UUID) -> qu.QuoteActions:
        return qu.QuoteActions(items=[])

    @app.get("/v1/quotes/{quote_id}/work-orders")
    async def orders(quote_id: UUID) -> qu.WorkOrders:
        return qu.WorkOrders(items=[qu.WorkOrderOut(**row) for row in world.orders[quote_id]])

    @app.post("/v1/quotes/{quote_id}/work-orders/{work_order_id}/close")
    async def close(quote_id: UUID, work_order_id: UUID, body: qu.WorkOrderClose) -> Any:
        for row in world.orders[quote_id]:
            if row["work_order_id"] == work_order_id and row["state"] == "open":
                row |= {"state": body.state, "closed_at": NOW, "closed_by": "Bo Chen", "evidence": body.evidence}
                return qu.WorkOrders(items=[qu.WorkOrderOut(**each) for each in world.orders[quote_id]])
        return JSONResponse({"detail": "There is no open work order of this id.", "status": 404}, status_code=404)

    @app.post("/v1/quotes/{quote_id}/rerun")
    async def rerun(quote_id: UUID) -> qu.QuoteRerun:
        quote = world.quotes[quote_id].quote
        return qu.QuoteRerun(
            quote_id=quote_id, same=True, premium=quote.premium.amount, inputs_sha256=quote.inputs_sha256
        )

    @app.post("/v1/quotes/{quote_id}/stress")
    async def stress(quote_id: UUID) -> qu.QuoteStress:
        return qu.QuoteStress(quote_id=quote_id, result=plain_stress(world.quotes[quote_id].quote))

    @app.get("/v1/quotes/{quote_id}/pdf")
    async def paper(quote_id: UUID, language: str = "en") -> Response:
        made = pdf.render(world.quotes[quote_id].result(), language, quote_id=str(quote_id))
        return Response(made, media_type="application/pdf")
