"""Rows of losses as the API tells them: what is null there is unknown."""

from collections.abc import Mapping
from typing import Any

from api.schemas.exposure import (
    AssessmentLosses,
    DifferenceOut,
    LocationLoss,
    LossEstimateOut,
    LossOut,
    PolicyLoss,
    ReconciledOut,
    UnknownOut,
)
from api.schemas.hazard import HazardEventOut
from geo import reasons


def losses_json(row: Mapping[str, Any]) -> AssessmentLosses:
    """One assessment with its loss."""
    return AssessmentLosses(
        assessment_id=row["assessment_id"],
        portfolio_name=row["portfolio_name"],
        footprint_version=row["footprint_version"],
        hazard_event=HazardEventOut(**row["hazard_event"]),
        exposed_tiv=row["exposed_tiv"],
        currency=row["currency"],
        loss=None if row["result"] is None else _estimate(row),
        locations=[LocationLoss(**one) for one in row["locations"]],
        policies=[PolicyLoss(**one) for one in row["policies"]],
    )


def _estimate(row: Mapping[str, Any]) -> LossEstimateOut:
    result: Mapping[str, Any] = row["result"]
    losses: Mapping[str, Any] = result.get("losses") or {}

    problem = reasons.read(row["problem"] or "")

    def unknown(reason: str, one: Mapping[str, Any]) -> UnknownOut:
        known = reasons.read(reason)
        return UnknownOut(**one, code=known.code if known else None, facts=dict(known.facts) if known else {})

    def of(name: str) -> LossOut | None:
        return LossOut(**losses[name]) if losses.get(name) else None

    return LossEstimateOut(
        problem=row["problem"] or None,
        problem_code=problem.code if problem else None,
        currency=row["loss_currency"],
        computed_at=row["loss_computed_at"],
        ground_up=of("gul"),
        gross=of("il"),
        net=of("ri"),
        net_of=result.get("net_of"),
        sd_by_source=result.get("sd_by_source") or {},
        unit=result.get("unit"),
        curves=result.get("curves") or [],
        unknown={reason: unknown(reason, one) for reason, one in (result.get("unknown") or {}).items()},
        reconciliation={c: ReconciledOut(**one) for c, one in (result.get("reconciliation") or {}).items()},
        difference=DifferenceOut(**result["difference"]) if result.get("difference") else None,
        assumptions=result.get("assumptions") or {},
        reports=result.get("reports"),
    )
