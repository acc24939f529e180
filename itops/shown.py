"""A quote as plain JSON values: what is shown, stored and compared when it is computed again."""

from typing import Any

import numpy as np

from core.money import Money
from itops import pricing
from itops.figures import availability_of, check_flags
from itops.inputs import UNNAMED_MODEL, since
from itops.offers import Priced
from itops.pricing import Commercial
from itops.quote import SEED, Quote
from itops.service_wire import described, plain_calendar, version_of
from itops.severity import Updated
from itops.station import Station
from itops.submission import Submission

#: Steps of the waterfall, in order.
STEPS = (
    "expected_loss", "experience", "loss_adjustment", "service_cost", "risk_load", "acquisition", "administration",
    "profit", "technical_premium",
)  # fmt: skip


def plain(quote: Quote) -> dict[str, Any]:
    """The quote as plain JSON values. Amounts are numbers with the currency's minor units, exact to the cent."""
    w = quote.waterfall
    currency = w.technical_premium.currency
    figures = quote.figures

    def amount(value: float) -> float:
        return float(Money(pricing.exact(value), currency).rounded().amount)

    site, pml, return_period = figures.site_pml()
    experience = quote.experience
    return {
        "premium": float(w.technical_premium.amount),
        "technical_premium": float(w.technical_premium.amount),
        "commercial_premium": float(quote.commercial.premium.amount),
        "payable": float(quote.commercial.payable.amount),
        "currency": currency,
        "insured": quote.insured,
        "decision": quote.decision,
        "segment": quote.segment,
        "waterfall": {name: float(getattr(w, name).amount) for name in STEPS},
        "commercial": _commercial(quote.commercial),
        "build_up": [{"step": name, "amount": amount(value)} for name, value in figures.build_up()],
        "expected_loss": amount(quote.expected_loss),
        "standard_deviation": amount(quote.standard_deviation),
        "quantile_99": amount(quote.quantile_99),
        "tail_mean": {"level": quote.tail_mean_level, "amount": amount(quote.tail_mean)},
        "risk_load": {
            "cost_of_capital": amount(figures.risk_load),
            "wang": amount(quote.wang_risk_load),
            "wang_shift": round(figures.wang_shift, 6),
            "method": "cost of capital x (TVaR - expected loss), to covers by co-TVaR; Wang's transform beside it",
        },
        "wang_risk_load": amount(quote.wang_risk_load),
        "loss_ratio": round(quote.expected_loss / max(float(quote.commercial.premium.amount), 0.01), 6),
        "prior_share": round(quote.prior_share, 6),
        "prior_only_share": round(quote.facts["prior_only_share"] or 0.0, 6),
        "parameter_range": {
            "expected_loss": {"p05": amount(quote.range.expected_loss[0]), "p95": amount(quote.range.expected_loss[1])},
            "premium": {"p05": amount(quote.range.premium[0]), "p95": amount(quote.range.premium[1])},
            "cv": round(quote.range.cv, 6),
            "security_editions": [
                {"edition": name, "expected_loss": amount(value)} for name, value in quote.range.editions
            ],
        },
        "experience": None
        if experience is None
        else {
            "modification": round(experience.modification, 6),
            "credibility": round(experience.credibility, 6),
            "actual_capped": amount(experience.actual_capped),
            "expected": amount(experience.expected),
            "expected_claims": round(experience.expected_claims, 6),
            "n_left_out": experience.n_left_out,
        },
        "score": {
            "value": round(quote.assessment.score, 2),
            "tier": quote.assessment.tier,
            "relativity": round(quote.assessment.relativity, 6),
            "formula": "80 - 40 log2(residual relativity)",
        },
        "questionnaire": {
            "depth": quote.assessment.depth,
            "questions": [
                {
                    "id": q.id, "depth": q.depth, "answer": q.answer, "factor": q.factor, "en": q.en, "zh": q.zh,
                }
                for q in quote.assessment.asked
            ],
        },
        "facts": dict(quote.facts),
        "rules": [
            {
                "rule": f.rule, "state": f.state, "action": f.action, "fact": f.fact, "value": f.value, "op": f.op,
                "threshold": f.threshold, "en": f.en, "zh": f.zh,
            }
            for f in quote.fired
        ],
        "counter_offer": None
        if quote.counter_offer is None
        else {
            "reachable": quote.counter_offer.reachable,
            "to_standard": list(quote.counter_offer.to_standard),
            "steps": [
                {
                    "kind": s.kind, "en": s.what_en, "zh": s.what_zh, "score": round(s.score, 2), "tier": s.tier,
                    "premium": None if s.premium is None else float(s.premium),
                }
                for s in quote.counter_offer.steps
            ],
        },
        "related_covers": list(quote.related),
        "options": [_option(item, amount) for item in quote.options],
        "services": _services(quote, amount),
        "maintenance_comparison": _comparison(quote),
        "work_orders": [
            {
                "asset_id": o.asset_id, "device_class": o.device_class, "signal": o.signal, "value": o.value,
                "action": o.action, "hazard_before": round(o.hazard_before, 6),
                "hazard_after": round(o.hazard_after, 6),
                "basis": o.basis,
            }
            for o in quote.orders
        ],
        "after_work_orders": None
        if quote.after_work is None
        else {
            "expected_loss": amount(quote.after_work[0]),
            "premium": float(quote.after_work[1].premium.amount),
            "saves": float(quote.commercial.premium.amount - quote.after_work[1].premium.amount),
        },
        "causes": {name: amount(value) for name, value in sorted(figures.by_cause().items())},
        "site_pml": {"site": site, "amount": amount(pml), "return_period_years": round(return_period)},
        "service_map": [
            {name: value if isinstance(value, str) else float(f"{value:.9g}") for name, value in row.items()}
            for row in availability_of(figures)
        ],
        "as_of": quote.as_of.isoformat(),
        "exposure_window": {"from": quote.exposure_from.isoformat(), "to": quote.exposure_to.isoformat()},
        "policy_period": {"from": quote.period_from.isoformat(), "to": quote.period_to.isoformat()},
        "inputs_sha256": quote.inputs_sha256,
        "model_version": quote.model_version,
        "priors_version": quote.versions["priors"],
        "versions": {
            "model": quote.model_version, "data_as_of": quote.as_of.isoformat(), "seed": SEED, **quote.versions,
        },
        "classes": [
            {
                "device_class": c.device_class,
                "exposure_years": round(c.exposure_years, 6),
                "n_incidents": c.n_incidents,
                "n_open": c.n_open,
                "rate_per_year": None if c.rate_per_year != c.rate_per_year else round(c.rate_per_year, 9),
                "frequency_prior_share": round(c.frequency_prior_share, 6),
                "years_in_force": round(c.years_in_force, 6),
                "expected_incidents": round(c.expected_incidents, 6),
                "repair_prior_share": round(c.repair_prior_share, 6),
                "layer_prior_share": round(c.layer_prior_share, 6),
                "expected_loss": amount(c.expected_loss),
            }
            for c in quote.classes
        ],
        "covers": [
            {
                "cover": c.cover,
                "expected_loss": amount(c.expected_loss),
                "expected_failures": amount(c.expected_failures),
                "expected_ground_up": None if c.expected_ground_up is None else amount(c.expected_ground_up),
                "co_tail_mean": amount(c.tail_part),
                "risk_load": amount(c.risk_load),
                "premium": amount(c.premium),
                "prior_only": c.prior_only,
                "quantile_99": amount(c.quantile_99),
            }
            for c in quote.covers
        ],
        "assumptions": [
            {"name": a.name, "value": a.value, "kind": a.kind, "basis": a.basis} for a in quote.assumptions
        ],
        "notes": list(quote.notes),
        "validation": check_flags(figures.law),
        "grid": {"step": quote.grid_step, "nodes": quote.grid_nodes},
        **_since_2026_3(quote),
        **_since_2026_5(quote),
    }  # fmt: skip


#: What the premium is, by the decision: words for people who read only that.
_OFFER = {
    "quote": ("offer", "can be bound", "可承保"),
    "refer": ("subject_to_approval", "referred: no offer before it is approved", "转核保：批准前不构成要约"),
    "decline": (
        "indication", "declined as asked: an indication only, not an offer", "按现条件拒保：仅为参考，不构成要约"
    ),
}  # fmt: skip


def _since_2026_3(quote: Quote) -> dict[str, Any]:
    """What the results of earlier models do not have; a quote of theirs comes out as it was stored."""
    if quote.model_version == UNNAMED_MODEL:
        return {}
    kind, en, zh = _OFFER[quote.decision]
    fired = [rule for rule in quote.fired if rule.state == "fired" and rule.action == "decline"]
    return {
        "offer": {
            "kind": kind, "en": en, "zh": zh,
            "because": [{"rule": rule.rule, "en": rule.en, "zh": rule.zh} for rule in fired],
        },
        "fits": [
            {
                "kind": used.use.kind, "device_class": used.device_class, "shape": used.use.shape,
                "version": used.use.version, "sha256": used.use.sha256, "record_sha256": used.use.record_sha256,
                "as_of": used.use.as_of, "source": used.use.source, "unit": used.use.by,
                "same_record": used.use.same_record, "n_devices": used.n_devices, "n_unknown": used.n_unknown,
                "rate_per_year": None if used.rate_per_year is None else round(used.rate_per_year, 9),
                "cv": None if used.cv is None else round(used.cv, 6),
                "share": round(quote.fitted.classes[used.device_class].frequency.fit_share, 6)
                if used.use.kind == "fleet"
                else round(_repair_fit_share(quote, used.device_class), 6),
            }
            for used in quote.fitted.fits
        ],
        "shock_layers": [
            {name: value if isinstance(value, str) else float(f"{value:.9g}") for name, value in row.items()}
            for row in quote.figures.builder.layers()
        ],
    }  # fmt: skip


def _since_2026_5(quote: Quote) -> dict[str, Any]:
    """Which hours the system availability cover counts; null without that cover."""
    if not since(quote.model_version, "itops-2026.5"):
        return {}
    if not any(cover.cover == "system_availability" for cover in quote.covers):
        return {"service_hours": None}
    hours = quote.figures.builder.service_hours
    if hours is None:
        told: dict[str, Any] = {
            "counted": "elapsed", "share_of_time": 1.0, "hours_per_month": 730.5,
            "en": "System availability is counted in elapsed hours, round the clock.",
            "zh": "系统可用性按自然时间（全天候）计。",
        }  # fmt: skip
        return {"service_hours": told}
    plain_one = plain_calendar(hours.service)
    month = round(730.5 * hours.share, 6)
    week = described(hours.service)
    told = {
        "counted": "service", "share_of_time": round(hours.share, 9), "hours_per_month": month,
        "calendar": plain_one, "calendar_version": version_of(plain_one),
        "cycle": "policy_period" if hours.dated else "week", "n_starts": hours.n_starts,
        "starts": "uniform" if hours.uniform else "pattern",
        "en": f"System availability is counted in service hours of {hours.service.name!r}: {week}, {month:,.1f} h a "
        "month. Restoration target, compensation an hour and service credits are in these hours.",
        "zh": f"系统可用性按服务时间“{hours.service.name}”计：{described(hours.service, 'zh')}，每月{month:,.1f}小时。"
        "恢复目标、每小时赔偿与服务抵扣均按服务时间计。",
    }  # fmt: skip
    return {"service_hours": told}


def _repair_fit_share(quote: Quote, device_class: str) -> float:
    """Share of a class's tickets that a repair fit stands for, its own prior left out."""
    law = quote.fitted.classes[device_class].repair
    return law.prior_share - _prior_tickets(law)


def _prior_tickets(law: Updated) -> float:
    """Share of a repair law that rests on the book's prior and on no ticket of any record."""
    return float(law.prior_part().survival(np.zeros(1))[0])


def _commercial(c: Commercial) -> dict[str, Any]:
    return {
        "technical_premium": float(c.technical.amount),
        "market": float(c.market.amount),
        "tier": float(c.tier.amount),
        "held_at_floor": float(c.held_at_floor.amount),
        "premium": float(c.premium.amount),
        "floor": float(c.floor.amount),
        "below_floor": c.below_floor,
        "approved_by": c.approved_by,
        "levies": [{"name": name, "amount": float(money.amount)} for name, money in c.levies],
        "payable": float(c.payable.amount),
    }


def _option(item: Priced, amount: Any) -> dict[str, Any]:
    law = item.figures.net
    return {
        "name": item.name,
        "changed": list(item.changed),
        "technical_premium": float(item.commercial.technical.amount),
        "commercial_premium": float(item.commercial.premium.amount),
        "expected_loss": amount(law.mean),
        "quantile_99": amount(law.quantile(0.99)),
        "terms": [dict(terms) for terms in item.terms],
    }


def _services(quote: Quote, amount: Any) -> list[dict[str, Any]]:
    """The three services as priced options; without an exchange rate their prices in dollars cannot be turned."""
    figures = quote.figures
    if quote.waterfall.technical_premium.currency != "USD" and figures.submission.usd_rate is None:
        return []
    table = figures.book.tariff["service_plans"]
    return [
        {
            "service": name,
            "cost": amount(figures.plan_cost(name)),
            "bought": name in figures.submission.plan,
            "hazard": float(table[name]["hazard"]),
            "basis": str(table["kind"]),
        }
        | (_station(figures.station, figures.submission, amount) if name == "managed" else {})
        for name in ("insurance", "health_care", "managed")
    ]


def _station(station: Station | None, submission: Submission, amount: Any) -> dict[str, Any]:
    """What stands behind a managed service: engineers on call and spare parts, and what they cost."""
    if station is None:
        return {}
    rate = 1.0 if submission.currency == "USD" or submission.usd_rate is None else float(submission.usd_rate)
    return {
        "station": {
            "engineers": station.engineers.servers,
            "busy": round(station.engineers.load, 9),
            "wait_probability": round(station.engineers.wait_probability, 9),
            "wait_h": station.wait_h,
            "share_of_load": round(station.share_of_load, 9),
            "engineers_cost": amount(station.engineers_usd * rate),
            "spares_cost": amount(station.spares_usd * rate),
            "stock": [
                {"device_class": one.device_class, "demand_per_year": round(one.demand_per_year, 9), "parts": one.parts}
                for one in station.stock
            ],
        }
    }


def _comparison(quote: Quote) -> dict[str, Any] | None:
    """Saving against a maintenance contract of the same scope; no figure without its denominator, or beside another."""
    contract = quote.figures.submission.contract
    if contract is None:
        return None
    retained = max(
        sum(
            float(c.expected_ground_up) - c.expected_failures for c in quote.covers if c.expected_ground_up is not None
        ),
        0.0,
    )
    paid = float(quote.commercial.payable.amount)
    denominator = float(contract.annual_price)
    comparable = contract.same_assets and contract.same_sla and contract.service_credit is not None
    return {
        "denominator": denominator,
        "scope": contract.scope,
        "exclusions": contract.exclusions,
        "service_credit": None if contract.service_credit is None else float(contract.service_credit),
        "premium_and_services": paid,
        "retained": round(retained, 2),
        "saving": round(1.0 - (paid + retained) / denominator, 6) if comparable else None,
        "why_not": None
        if comparable
        else "no saving is shown: the contract's assets, service level and service credit must be known and the same",
    }
