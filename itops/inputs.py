"""Everything a premium depends on, in one spelling, and its hash."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from itops.covers_wire import plain_cover
from itops.fit_use import plain_uses
from itops.fleet import Asset, Fleet
from itops.incident import Incident, IncidentTable
from itops.service_wire import plain_calendar
from itops.submission import HAZARDS, Submission, submission_from

_FLEET_COLUMNS = (
    "asset_id", "device_class", "commissioned_on", "retired_on", "manufacturer", "model", "site", "value",
    "redundancy", "sla_tier", "monitored",
)  # fmt: skip
_INCIDENT_COLUMNS = ("asset_id", "opened", "restored", "cause", "incident_id")


#: The models that can still be computed, oldest first; a quote of one of them comes out as it was stored.
MODELS = ("itops-2026.2", "itops-2026.3", "itops-2026.4", "itops-2026.5")
#: The model whose inputs did not name it.
UNNAMED_MODEL = MODELS[0]


def since(model_version: str, first: str) -> bool:
    """Whether a model is `first` or a later one."""
    return MODELS.index(model_version) >= MODELS.index(first)


def canonical_inputs(
    submission: Submission, fleet: Fleet, incidents: IncidentTable, book_text: str, model_version: str
) -> dict[str, Any]:
    """Everything a quote depends on, in plain JSON values; enough to compute it again, word for word.

    Row order, column order, spelling of numbers and file names have no part in it.
    """
    return ({} if model_version == UNNAMED_MODEL else {"model": model_version}) | {
        "submission": _plain_submission(submission),
        "assumed": [list(item) for item in submission.assumed],
        "fleet": {
            "columns": list(_FLEET_COLUMNS),
            "rows": [_plain_asset(asset) for asset in fleet.assets],
            "ignored_columns": list(fleet.ignored_columns),
        },
        "incidents": {
            "columns": list(_INCIDENT_COLUMNS),
            "rows": [_plain_incident(item) for item in incidents.incidents],
            "ignored_columns": list(incidents.ignored_columns),
        },
        "book": json.loads(book_text, parse_float=str, parse_int=str),
    }


def read_inputs(
    inputs: Mapping[str, Any], *, known_classes: Collection[str]
) -> tuple[Submission, Fleet, IncidentTable]:
    """What canonical_inputs was made from. The tables were checked when they were read the first time."""
    submission = replace(
        submission_from(inputs["submission"], known_classes=known_classes),
        assumed=tuple((name, value) for name, value in inputs["assumed"]),
    )
    fleet = Fleet(
        assets=tuple(_asset(row) for row in inputs["fleet"]["rows"]),
        ignored_columns=tuple(inputs["fleet"]["ignored_columns"]),
    )
    class_of = {asset.asset_id: asset.device_class for asset in fleet.assets}
    incidents = IncidentTable(
        incidents=tuple(
            Incident(
                asset_id=asset_id,
                device_class=class_of[asset_id],
                opened=datetime.fromisoformat(opened),
                restored=None if restored is None else datetime.fromisoformat(restored),
                cause=cause,
                incident_id=incident_id,
            )
            for asset_id, opened, restored, cause, incident_id in inputs["incidents"]["rows"]
        ),
        ignored_columns=tuple(inputs["incidents"]["ignored_columns"]),
    )
    return submission, fleet, incidents


def _asset(row: Sequence[Any]) -> Asset:
    asset_id, device_class, commissioned_on, retired_on, manufacturer, model, site, value, *more = row
    redundancy, sla_tier, monitored = more
    return Asset(
        asset_id=asset_id,
        device_class=device_class,
        commissioned_on=date.fromisoformat(commissioned_on),
        retired_on=None if retired_on is None else date.fromisoformat(retired_on),
        manufacturer=manufacturer,
        model=model,
        site=site,
        value=None if value is None else Decimal(value),
        redundancy=redundancy,
        sla_tier=sla_tier,
        monitored=monitored,
    )


def hash_inputs(canonical: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical inputs as JSON with sorted keys and no blanks, in UTF-8; in hexadecimal."""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4096)
def _number(value: Decimal) -> str:
    """One spelling for one number: 1.50, 1.5 and 15e-1 are the same."""
    return format(value.normalize(), "f")


def _plain_submission(s: Submission) -> dict[str, Any]:
    return {
        "insured": s.insured,
        "exposure_window": {"from": s.exposure_from.isoformat(), "to": s.exposure_to.isoformat()},
        "as_of": s.as_of.isoformat(),
        "policy_period": {"from": s.period_from.isoformat(), "to": s.period_to.isoformat()},
        "time_zone": s.time_zone.key,
        "currency": s.currency,
        "covers": sorted((plain_cover(cover) for cover in s.covers), key=lambda cover: str(cover["cover"])),
        "annual": {
            "deductible": _number(s.annual.deductible),
            "limit": None if s.annual.limit is None else _number(s.annual.limit),
        },
        "expenses": {
            "acquisition": _number(s.loadings.acquisition),
            "administration": _number(s.loadings.administration),
            "profit": _number(s.loadings.profit),
            "loss_adjustment": _number(s.loadings.loss_adjustment),
            "service_cost": _number(s.loadings.service_cost),
        },
        "risk_load": {"cost_of_capital": _number(s.charge.rate), "tvar_level": s.charge.level},
        **_plain_rest(s),
    }


def _plain_rest(s: Submission) -> dict[str, Any]:
    """Fields that may be absent: one that is absent is not spelt, so that old inputs keep their hash."""
    out: dict[str, Any] = {}
    if s.segment is not None:
        out["segment"] = s.segment
    if s.usd_rate is not None:
        out["usd_rate"] = _number(s.usd_rate)
    if s.sites:
        out["sites"] = [
            {"site": site.site}
            | ({} if site.region is None else {"region": site.region})
            | {
                HAZARDS[peril]: {format(years, "g"): level for years, level in levels}
                for peril, levels in sorted(site.return_levels.items())
            }
            for site in s.sites
        ]
    if s.service_wires:
        out["services"] = sorted((_plain_service(item) for item in s.service_wires), key=lambda item: item["service"])
    if s.plan:
        out["service_plan"] = list(s.plan)
    if s.answers:
        out["questionnaire"] = dict(s.answers)
    if s.alarms:
        out["alarms"] = [
            {"asset_id": a.asset_id, "signal": a.signal, "value": a.value}
            | ({} if a.seen_on is None else {"seen_on": a.seen_on.isoformat()})
            for a in s.alarms
        ]
    if s.claims:
        out["claims_history"] = [
            {"opened_on": c.opened_on.isoformat(), "amount": _number(c.amount), "cause": c.cause} for c in s.claims
        ]
    if s.market.factor != 1 or s.market.approved_by is not None:
        out["market"] = {"factor": _number(s.market.factor)} | (
            {} if s.market.approved_by is None else {"approved_by": s.market.approved_by}
        )
    if s.contract is not None:
        c = s.contract
        out["maintenance_contract"] = {
            "annual_price": _number(c.annual_price),
            "scope": c.scope,
            "same_assets": c.same_assets,
            "same_sla": c.same_sla,
            "exclusions": c.exclusions,
        } | ({} if c.service_credit is None else {"service_credit": _number(c.service_credit)})
    authority = {"limit": s.authority.limit, "capacity": s.authority.capacity}
    if any(value is not None for value in authority.values()):
        out["authority"] = {name: _number(value) for name, value in authority.items() if value is not None}
    if s.levies:
        out["levies"] = [{"name": name, "rate": _number(rate)} for name, rate in s.levies]
    if s.options:
        out["options"] = [{"name": o.name, "covers": _plain_any(o.covers)} for o in s.options]
    if s.service_calendar is not None:
        out["service_calendar"] = plain_calendar(s.service_calendar)
    if s.fits:
        out["fits"] = plain_uses(s.fits)
    return out


def _plain_service(item: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(item) | {"revenue_per_hour": _number(Decimal(item["revenue_per_hour"]))}
    if "assets" in out:
        out["assets"] = sorted(out["assets"])
    return out


def _plain_any(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, Mapping):
        return {name: _plain_any(value[name]) for name in sorted(value)}
    return [_plain_any(item) for item in value] if isinstance(value, list | tuple) else value


def _plain_asset(asset: Asset) -> list[str | None]:
    return [
        asset.asset_id,
        asset.device_class,
        asset.commissioned_on.isoformat(),
        None if asset.retired_on is None else asset.retired_on.isoformat(),
        asset.manufacturer,
        asset.model,
        asset.site,
        None if asset.value is None else _number(asset.value),
        asset.redundancy,
        asset.sla_tier,
        asset.monitored,
    ]


def _plain_incident(item: Incident) -> list[str | None]:
    return [item.asset_id, _moment(item.opened), _moment(item.restored), item.cause, item.incident_id]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
