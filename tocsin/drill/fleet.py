"""The IT half of the drill: a fleet of 2,000 devices with four years of incidents, and what is asked to be insured.

The CSV columns are those of itops (docs/methods/itops.md).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

N_DEVICES = 2000
#: class -> (share, incidents a year, median repair h, sigma of log, median value, makers)
_CLASSES = {
    "server": (0.22, 0.11, 4.5, 0.9, 7800.0, ("Altmark", "Borean")),
    "storage": (0.06, 0.09, 6.0, 0.9, 26000.0, ("Cassel",)),
    "disk": (0.18, 0.028, 3.0, 0.7, 420.0, ("Cassel", "Dornier Data")),
    "switch": (0.14, 0.022, 2.2, 0.8, 3100.0, ("Elbnet",)),
    "router": (0.05, 0.02, 2.5, 0.8, 5200.0, ("Elbnet",)),
    "firewall": (0.03, 0.024, 2.0, 0.8, 6400.0, ("Fathom",)),
    "ups": (0.05, 0.034, 7.0, 0.8, 4700.0, ("Gridwell",)),
    "cooling": (0.04, 0.055, 6.5, 0.8, 9800.0, ("Gridwell",)),
    "desktop": (0.11, 0.10, 5.0, 1.0, 900.0, ("Altmark",)),
    "laptop": (0.12, 0.16, 6.0, 1.0, 1300.0, ("Altmark", "Borean")),
}
_SITES = ("harbury-dc", "longford-office", "tarnmouth-depot", "eastmere-plant")


@dataclass(frozen=True)
class Fleet:
    """Tables ready to be written."""

    devices: tuple[dict[str, str], ...]
    incidents: tuple[dict[str, str], ...]
    submission: dict[str, Any]


def build(rng: np.random.Generator, today: date) -> Fleet:
    """The fleet as of `today`; incidents of the four years before it."""
    start = today - timedelta(days=4 * 365 + 1)
    names = list(_CLASSES)
    kind = rng.choice(len(names), N_DEVICES, p=np.array([_CLASSES[n][0] for n in names]))
    devices, incidents = [], []
    for i in range(N_DEVICES):
        name = names[kind[i]]
        _, rate, repair, sigma, value, makers = _CLASSES[name]
        commissioned = start + timedelta(days=int(rng.integers(-900, 1300)))
        life = int(rng.integers(900, 3200))
        retired = commissioned + timedelta(days=life) if commissioned + timedelta(days=life) < today else None
        devices.append(
            {
                "asset_id": f"DV-{i + 1:04d}",
                "device_class": name,
                "commissioned_on": commissioned.isoformat(),
                "retired_on": retired.isoformat() if retired else "",
                "manufacturer": makers[i % len(makers)],
                "model": f"{makers[i % len(makers)][:2].upper()}-{1 + i % 3}",
                "site": _SITES[int(rng.integers(0, len(_SITES)))],
                "value": f"{value * float(np.exp(rng.normal(0, 0.3))):.2f}",
            }
        )
        first, last = max(start, commissioned), retired or today
        years = max((last - first).days, 0) / 365.25
        frailty = float(rng.gamma(2.0, 0.5))  # some devices are worse than others
        for at in np.sort(rng.uniform(0, max(years, 0.0), int(rng.poisson(rate * frailty * years)))):
            opened = datetime(first.year, first.month, first.day) + timedelta(days=float(at) * 365.25)  # noqa: DTZ001
            if opened.date() >= last:
                continue
            restored = opened + timedelta(hours=repair * float(np.exp(rng.normal(0.0, sigma))))
            known = restored.date() < today
            incidents.append(
                {
                    "incident_id": "",
                    "asset_id": f"DV-{i + 1:04d}",
                    "device_class": name,
                    "opened": opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "restored": restored.strftime("%Y-%m-%dT%H:%M:%SZ") if known else "",
                    "cause": str(rng.choice(["hardware", "power", "software", "network", "unknown"])),
                }
            )
    incidents.sort(key=lambda row: (row["opened"], row["asset_id"]))
    for number, row in enumerate(incidents):
        row["incident_id"] = f"INC-{number + 1:05d}"
    return Fleet(tuple(devices), tuple(incidents), _submission(start, today))


def _submission(start: date, today: date) -> dict[str, Any]:
    return {
        "insured": "Tarn Valley Utilities (exercise)",
        "fleet": "fleet.csv",
        "incidents": "incidents.csv",
        "exposure_window": {"from": start.isoformat(), "to": today.isoformat()},
        "as_of": today.isoformat(),
        "policy_period": {
            "from": (today + timedelta(days=1)).isoformat(),
            "to": (today + timedelta(days=366)).isoformat(),
        },
        "currency": "EUR",
        "covers": [
            {
                "cover": "business_interruption",
                "revenue_per_hour": 4200,
                "affected_share": {
                    "server": 0.06, "storage": 0.12, "switch": 0.15, "router": 0.3, "firewall": 0.3, "ups": 0.08,
                    "cooling": 0.05, "disk": 0.0, "desktop": 0.0, "laptop": 0.0,
                },
                "waiting_period_h": 4,
                "indemnity_period_h": 720,
                "limit": 250_000,
            },
            {
                "cover": "system_availability",
                "restoration_target_h": 8,
                "compensation_per_breach": 500,
                "compensation_per_hour": 120,
                "limit": 40_000,
            },
        ],
        "annual": {"deductible": 5000, "limit": 1_000_000},
        "expenses": {"acquisition": 0.15, "administration": 0.08, "profit": 0.05},
    }  # fmt: skip
