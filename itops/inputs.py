"""Everything a premium depends on, in one spelling, and its hash."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from itops.fleet import Asset, Fleet
from itops.incident import Incident, IncidentTable
from itops.policy import Cover, SystemAvailability
from itops.submission import Submission


def canonical_inputs(
    submission: Submission, fleet: Fleet, incidents: IncidentTable, priors_text: str
) -> dict[str, Any]:
    """Everything a premium depends on, in plain JSON values; enough to compute it again.

    Row order, column order, spelling of numbers, file names and columns nobody reads have no part in it.
    """
    return {
        "submission": _plain_submission(submission),
        "fleet": {
            "columns": [
                "asset_id", "device_class", "commissioned_on", "retired_on", "manufacturer", "model", "site", "value"
            ],
            "rows": [_plain_asset(asset) for asset in fleet.assets],
        },
        "incidents": {
            "columns": ["asset_id", "opened", "restored", "cause", "incident_id"],
            "rows": [_plain_incident(item) for item in incidents.incidents],
        },
        "priors": json.loads(priors_text, parse_float=str, parse_int=str),
    }  # fmt: skip


def hash_inputs(canonical: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical inputs as JSON with sorted keys and no blanks, in UTF-8; in hexadecimal."""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


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
        "covers": sorted((_plain_cover(cover) for cover in s.covers), key=lambda cover: str(cover["cover"])),
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
    }


def _plain_cover(cover: Cover) -> dict[str, Any]:
    terms = {
        "cover": cover.name,
        "deductible": _number(cover.terms.deductible),
        "coinsurance": _number(cover.terms.coinsurance),
        "limit": _number(cover.terms.limit),
    }
    if isinstance(cover, SystemAvailability):
        return terms | {
            "restoration_target_h": cover.restoration_target_h,
            "compensation_per_breach": _number(cover.compensation_per_breach),
            "compensation_per_hour": _number(cover.compensation_per_hour),
        }
    return terms | {
        "revenue_per_hour": _number(cover.revenue_per_hour),
        "affected_share": {name: _number(share) for name, share in sorted(cover.affected_share.items())},
        "waiting_period_h": cover.waiting_period_h,
        "waiting_period_type": cover.waiting_period_type,
        "indemnity_period_h": cover.indemnity_period_h,
    }


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
    ]


def _plain_incident(item: Incident) -> list[str | None]:
    return [item.asset_id, _moment(item.opened), _moment(item.restored), item.cause, item.incident_id]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
