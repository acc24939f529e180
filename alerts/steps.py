"""One person's steps against loss: what is worth doing now, and what was done."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from alerts import answer_repository, delivery_repository
from alerts.damage_report import ASSUMED_FLOOR_M, first_floor_m
from alerts.icu import format_message
from alerts.message import catalogue
from alerts.prevention import STEPS, Home, Step, credited, steps
from core.errors import InvalidInput, NotFound
from geo.flood_damage import OED_TO_HAZUS
from geo.point_files import load_flood_curves
from store.pool import AsyncConnection
from store.queries import Row


class UnknownStep(InvalidInput):
    """There is no such step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step that somebody says is done."""

    step: str
    done_at: datetime
    avoided_loss: Decimal | None  #: None: unknown
    currency: str | None


@cache
def _curves() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return load_flood_curves()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """A flood's newest footprint, ready to be asked about places."""

    valid_at: datetime
    reached: BaseGeometry
    zones: Sequence[tuple[float, float | None, BaseGeometry]]  #: (minutes until arrival, depth in metres, polygon)


async def read_floods(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> list[Flood]:
    """Newest footprint of each flood that goes on."""
    found = []
    for row in await answer_repository.flood_zones(conn, tenant_id, now):
        reached = shapely.from_wkb(bytes(row["geometry"]))
        zones = [
            (
                float(zone["arrival_min"]),
                float(zone["intensity"]) if zone.get("unit") == "m" and zone.get("intensity") is not None else None,
                shape(zone["geometry"]),
            )
            for zone in row["zones"]
        ]
        shapely.prepare([reached, *(polygon for _, _, polygon in zones)])
        found.append(Flood(valid_at=row["valid_at"], reached=reached, zones=zones))
    return found


def hazard_at(floods: Sequence[Flood], lon: float, lat: float, now: datetime) -> tuple[float | None, float | None]:
    """(depth in metres, minutes until the water is there) at a place; None where the footprints do not say.

    The deepest of the zones that hold the place, and the earliest arrival; a place the water already covers has none
    left.
    """
    depth: float | None = None
    lead: float | None = None
    for flood in floods:
        age_min = (now - flood.valid_at).total_seconds() / 60
        if shapely.intersects_xy(flood.reached, lon, lat):
            lead = 0.0
        for arrival_min, depth_m, polygon in flood.zones:
            if not shapely.intersects_xy(polygon, lon, lat):
                continue
            left = max(0.0, arrival_min - age_min)
            lead = left if lead is None else min(lead, left)
            if depth_m is not None:
                depth = max(depth or 0.0, depth_m)
    return depth, lead


async def homes_of(
    conn: AsyncConnection,
    tenant_id: UUID,
    policyholder_ids: Sequence[UUID],
    now: datetime,
    floods: Sequence[Flood] | None = None,
) -> dict[UUID, Home]:
    """What is known of these people's homes now; `floods` where they were read already."""
    known = await read_floods(conn, tenant_id, now) if floods is None else floods
    rows = await answer_repository.home_facts(conn, tenant_id, policyholder_ids)
    return {row["policyholder_id"]: _home(row, known, now) for row in rows}


async def home_of(conn: AsyncConnection, tenant_id: UUID, policyholder_id: UUID, now: datetime) -> Home:
    """What is known of one person's home now; raises NotFound."""
    found = await homes_of(conn, tenant_id, [policyholder_id], now)
    if policyholder_id not in found:
        raise NotFound("There is no such policyholder.")
    return found[policyholder_id]


def _home(row: Row, floods: Sequence[Flood], now: datetime) -> Home:
    depth = lead = None
    if row["lon"] is not None:
        depth, lead = hazard_at(floods, row["lon"], row["lat"], now)
    if row["leave_by"] is not None:
        until = (row["leave_by"] - now).total_seconds() / 60
        lead = until if lead is None else min(lead, until)
    oed = row["oed"] or {}
    set_by_tenant = (row["tenant_settings"] or {}).get("prevention") or {}
    car = _number(set_by_tenant.get("car_value"))
    occupancy = OED_TO_HAZUS.get(str(row["occupancy_code"]), "RES1")
    trade = occupancy.startswith(("COM", "IND"))
    stories = _number(oed.get("NumberOfStoreys"))
    floor = first_floor_m(oed)
    contents = _money(row["contents_tiv"])
    return Home(
        depth_m=depth,
        lead_min=lead,
        occupancy=occupancy,
        n_stories=stories if stories and stories > 0 else 1.0,
        first_floor_m=ASSUMED_FLOOR_M if floor is None else floor,
        building_value=_money(row["building_tiv"]),
        contents_value=contents,
        stock_value=contents if trade else None,
        car_value=car,
        has_car=row["mode"] == "car",
        slow=bool(row["needs"]),
        currency=row["currency"] or "",
    )


def _money(value: Decimal | None) -> float | None:
    """An insured value; 0 means that none is insured, so what stands there is not known."""
    return float(value) if value is not None and value > 0 else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if value is not None else None
    except (TypeError, ValueError):
        return None


def told_steps(home: Home, language: str, n: int = 3) -> list[dict[str, Any]]:
    """The first steps as a message carries them, in words."""
    # Steps take whole minutes, so a part of one changes nothing; and neighbours of the same kind share the work.
    lead_min = None if home.lead_min is None else float(math.floor(home.lead_min))
    return [
        {"step": one.step, "minutes": one.minutes, "text": _in_words(one.step, one.minutes, language)}
        for one in _fitting(replace(home, lead_min=lead_min))[:n]
    ]


@lru_cache(maxsize=4096)
def _fitting(home: Home) -> tuple[Step, ...]:
    return tuple(steps(home, *_curves()))


@lru_cache(maxsize=4096)
def _in_words(step: str, minutes: int, language: str) -> str:
    words = catalogue(language)
    return f"{words['step'][step]} ({format_message(words['step_minutes'], {'minutes': minutes}, language)})"


async def steps_for(conn: AsyncConnection, tenant_id: UUID, policyholder_id: UUID, now: datetime) -> list[Step]:
    """What is worth doing now, in order."""
    hazus, jrc = _curves()
    return steps(await home_of(conn, tenant_id, policyholder_id, now), hazus, jrc)


async def mark_done(
    conn: AsyncConnection, *, tenant_id: UUID, policyholder_id: UUID, warning_id: UUID, step: str, now: datetime
) -> Done:
    """Keeps a step as done, with what it is estimated to save given the steps done before; once.

    Raises UnknownStep, and NotFound when the warning was not for this person.
    """
    if step not in STEPS:
        raise UnknownStep(step=step, known=list(STEPS))
    if not await delivery_repository.is_recipient(conn, warning_id, policyholder_id):
        raise NotFound("There is no such warning for this person.", warning_id=str(warning_id))
    home = await home_of(conn, tenant_id, policyholder_id, now)
    before = [row["step"] for row in await answer_repository.steps_done(conn, policyholder_id, warning_id)]
    hazus, jrc = _curves()
    saved = credited([*[one for one in before if one != step], step], home, hazus, jrc)[step]
    await answer_repository.add_step_done(
        conn,
        tenant_id=tenant_id,
        policyholder_id=policyholder_id,
        warning_id=warning_id,
        step=step,
        at=now,
        avoided_loss=None if saved is None else Decimal(f"{saved:.2f}"),
        currency=home.currency or None,
        estimate={
            "depth_m": home.depth_m,
            "lead_min": home.lead_min,
            "curves": "hazus",
            "occupancy": home.occupancy,
            "n_stories": home.n_stories,
            "first_floor_m": home.first_floor_m,
            "done_before": before,
        },
    )
    kept = {row["step"]: row for row in await answer_repository.steps_done(conn, policyholder_id, warning_id)}[step]
    return Done(**kept)
