"""Three reference portfolios, SIMULATED: a data centre, branch sites, end-user devices.

Nothing in them is anybody's experience. They show what a quote looks like and what it would earn under the model and
under stress; every incident is drawn from the priors of the book with a fixed seed.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from core.errors import NotFound
from itops.priors import Priors

NAMES = ("data_centre", "branch", "end_user")


class UnknownPortfolio(NotFound):
    """There is no reference portfolio of this name."""


_WINDOW = (date(2024, 1, 1), date(2026, 1, 1))
_VALUE = {"server": 9000, "storage": 42000, "switch": 5200, "router": 6800, "firewall": 7400, "ups": 12500,
          "cooling": 21000, "laptop": 1400, "desktop": 900, "disk": 320}  # fmt: skip
_MAKERS = ("Alder", "Birch", "Cedar")


def portfolio(
    name: str, priors: Priors, *, scale: float = 1.0, seed: int = 20260101
) -> tuple[dict[str, Any], str, str]:
    """(submission, fleet CSV, incident CSV) of a reference portfolio; `scale` multiplies its devices.

    Raises UnknownPortfolio.
    """
    if name not in NAMES:
        raise UnknownPortfolio(f"There is no reference portfolio {name!r}; there are {', '.join(NAMES)}")
    rng = np.random.default_rng([seed, NAMES.index(name)])
    counts, sites = {
        "data_centre": ({"server": 240, "storage": 24, "disk": 600, "switch": 40, "firewall": 4, "ups": 8,
                         "cooling": 8}, ["DC-1", "DC-2"]),
        "branch": ({"server": 60, "switch": 120, "router": 60, "firewall": 60, "ups": 60, "desktop": 480},
                   [f"BR-{k:02d}" for k in range(60)]),
        "end_user": ({"laptop": 1500, "desktop": 300}, ["HQ", "HOME"]),
    }[name]  # fmt: skip
    fleet: list[list[Any]] = []
    incidents: list[list[Any]] = []
    named = Counter(
        asset.rsplit("-", 1)[0] for item in _submission(name).get("services", []) for asset in item.get("assets", [])
    )
    for device_class, n in counts.items():
        # However small the portfolio, the devices that its services name are there.
        for k in range(max(round(n * scale), named[device_class], 1)):
            asset = f"{device_class}-{k:05d}"
            born = date(2019, 6, 1) + timedelta(days=int(rng.integers(0, 365 * 5)))
            maker = _MAKERS[int(rng.integers(0, 3))]
            fleet.append(
                [asset, device_class, born, maker, f"{maker}-{device_class}-{1 + k % 3}", sites[k % len(sites)],
                 _VALUE[device_class], "2N" if name == "data_centre" else "N",
                 "gold" if name == "data_centre" else "silver", "yes" if rng.random() < 0.9 else "no"]
            )  # fmt: skip
            incidents += _incidents(asset, device_class, born, priors, rng)
    submission = _submission(name)
    for service in submission.get("services", []):
        if "where" in service:  # all but one are needed
            service["needed"] = max(sum(row[1] == "switch" and row[5] == "DC-1" for row in fleet) - 1, 1)
    return submission, _csv(_FLEET, fleet), _csv(_INCIDENTS, incidents)


_FLEET = ("asset_id", "device_class", "commissioned_on", "manufacturer", "model", "site", "value", "redundancy",
          "sla_tier", "monitored")  # fmt: skip
_INCIDENTS = ("asset_id", "opened", "restored", "cause")


def _incidents(asset: str, device_class: str, born: date, priors: Priors, rng: np.random.Generator) -> list[list[Any]]:
    start = max(_WINDOW[0], born)
    days = (_WINDOW[1] - start).days
    if days <= 0:
        return []
    rate = priors.frequency[device_class][0].rate_per_year * rng.gamma(4.0, 0.25)
    law = priors.repair_of(device_class).law
    out: list[list[Any]] = []
    for minute in sorted(int(x) for x in rng.integers(0, days * 1440, int(rng.poisson(rate * days / 365.25)))):
        opened = datetime(start.year, start.month, start.day) + timedelta(minutes=minute)  # noqa: DTZ001
        grid = np.geomspace(0.05, 240.0, 400)
        hours = float(np.interp(rng.random(), 1.0 - law.survival(grid), grid))
        out.append([asset, f"{opened:%Y-%m-%d %H:%M}", f"{opened + timedelta(hours=hours):%Y-%m-%d %H:%M}", "hardware"])
    return out


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def _submission(name: str) -> dict[str, Any]:
    base: dict[str, Any] = {
        "insured": f"Reference portfolio: {name.replace('_', ' ')} (SIMULATED)",
        "fleet": "fleet.csv", "incidents": "incidents.csv",
        "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"}, "as_of": "2026-01-15",
        "policy_period": {"from": "2026-02-01", "to": "2027-02-01"}, "time_zone": "Asia/Shanghai", "currency": "CNY",
        "usd_rate": 7.2, "segment": name,
        "expenses": {"acquisition": 0.17, "administration": 0.10, "profit": 0.04, "loss_adjustment": 0.08},
        "authority": {"limit": 60000000, "capacity": 100000000},
    }  # fmt: skip
    recovery = {"cover": "data_recovery", "limit": 300000, "deductible": 5000, "recreation_hours": 8,
                "recreation_cost_per_hour": 300}  # fmt: skip
    damage = {"cover": "physical_damage", "valuation": "replacement_new", "deductible": 1000,
              "deductible_share": 0.05, "limit": 2000000}  # fmt: skip
    if name == "data_centre":
        return base | {
            "covers": [
                {"cover": "business_interruption", "waiting_period_h": 8, "indemnity_period_h": 720, "limit": 12000000,
                 "aggregate_limit": 24000000, "sublimits": {"cloud_region": 3000000}},
                damage,
                {"cover": "information_security", "annual_revenue": 900000000, "limit": 8000000, "deductible": 500000,
                 "posture": {"mfa": True, "edr": True, "backups_offline": True, "patch_sla": False}},
                {"cover": "system_availability", "restoration_target_h": 4, "compensation_per_breach": 2000,
                 "compensation_per_hour": 500, "monthly_fee": 60000, "limit": 100000},
                recovery,
            ],
            "sites": [
                {"site": "DC-1", "region": "east", "flood_depth_m": {"100": 0.3, "500": 1.2},
                 "wind_m_s": {"50": 38, "250": 52}, "pga_g": {"475": 0.1}},
                {"site": "DC-2", "region": "north", "pga_g": {"475": 0.2}},
            ],
            "services": [
                {"service": "payments", "revenue_per_hour": 180000,
                 "where": {"site": "DC-1", "device_class": "switch"}},
                {"service": "core banking", "revenue_per_hour": 120000,
                 "assets": [f"server-{k:05d}" for k in range(12)], "needed": 10},
                {"service": "archive", "revenue_per_hour": 8000, "assets": ["storage-00000", "storage-00001"],
                 "needed": 1},
                {"service": "edge", "revenue_per_hour": 30000, "assets": ["firewall-00000"]},
            ],
            "service_plan": ["insurance", "health_care"],
            "questionnaire": {"climate_control": "good", "power_feeds": "two_independent",
                              "restore_test": "within_6_months"},
        }  # fmt: skip
    if name == "branch":
        share = {"server": 0.004, "switch": 0.006, "router": 0.012, "firewall": 0.012, "ups": 0.008, "desktop": 0.0004}
        return base | {
            "covers": [
                {"cover": "business_interruption", "revenue_per_hour": 240000, "affected_share": share,
                 "waiting_period_h": 4, "indemnity_period_h": 72, "limit": 1500000, "aggregate_limit": 6000000},
                damage,
                {"cover": "system_availability", "restoration_target_h": 8, "compensation_per_breach": 500,
                 "compensation_per_hour": 100, "limit": 10000},
            ],
            "questionnaire": {"climate_control": "good", "power_feeds": "one_with_ups"},
        }  # fmt: skip
    return base | {
        "covers": [
            damage | {"deductible": 200, "limit": 20000, "aggregate_limit": 3000000},
            recovery | {"limit": 30000, "deductible": 500, "recreation_hours": 4},
            {"cover": "system_availability", "restoration_target_h": 24, "compensation_per_breach": 100, "limit": 500},
        ],
        "questionnaire": {"carry_cases": "yes", "restore_test": "within_2_years", "spare_devices": "within_a_day"},
    }  # fmt: skip
