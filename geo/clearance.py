"""The clearance of a plan as `plan.json` tells it: its ways beside what people do without a plan."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from geo.drive_on import drive_on
from geo.evacuation import Plan, Seats
from geo.network import Int32Array
from geo.spread import Spread, spread_out
from geo.traffic import equilibrium, outward, planned_ways, simulate


def clearance(
    spread: Spread, unseated: Plan, contraflow: Int32Array | None = None,
    seats: Seats | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The clearance of a plan's ways as they are told, beside "nearest and fastest", with a band of capacity.

    `unseated` is the same plan without seats and without spreading: everybody on the fastest way to the nearest safe
    zone. With `seats` the peer that counts is "nearest and fastest until full" (`geo.drive_on`): a way into a full safe
    zone gets nobody a seat, so that nearest and fastest, told as well, is no plan. `contraflow` are roads of two
    directions whose lanes all go outwards in a scenario beside it; nobody's route is made of it.
    """
    rows, demand = spread.ways.rows, spread.demand
    cars = next(t for t in unseated.trees if not t.graph.on_foot)
    ours, base = spread.clearance, simulate(cars, planned_ways(unseated, rows), demand)
    peer = base
    if seats is not None:
        peer = drive_on(unseated, rows, seats.people, np.maximum(seats.seats - seats.accessible_seats, 0), demand)
    selfish, gap = equilibrium(spread.before, rows, demand)
    band = {
        name: simulate(cars, spread.ways, replace(demand, capacity_factor=demand.capacity_factor * factor)).as_json()
        for name, factor in (("capacity_80_percent", 0.8), ("capacity_120_percent", 1.2))
    }
    t100, b100, p100 = ours.at(1.0), base.at(1.0), peer.at(1.0)
    with_seats: dict[str, Any] = {}
    if seats is not None:
        with_seats = {
            "nearest_and_fastest_until_full": peer.as_json()
            | {"households_without_a_seat": len(rows) - len(peer.arrival_s)},
            "times_sooner_than_nearest_ignoring_seats": round(b100 / t100, 2) if t100 and b100 else None,
        }
    scenario: dict[str, Any] = {}
    if contraflow is not None:
        turned = replace(demand, contraflow=outward(cars, spread.ways, contraflow))
        found = spread_out(spread.before, rows, turned, spread.longer_share, seats).clearance
        scenario["contraflow"] = {
            "n_roads": len(contraflow), **found.as_json(),
            "note": "a scenario for planners: it needs an order, and no household's route uses it",
        }  # fmt: skip
    return {
        "households_driving": len(rows),
        "demand": {k: v for k, v in asdict(demand).items() if k != "contraflow"},
        "spread": {
            **ours.as_json(),
            "households_on_another_way": spread.n_moved,
            "longer_share_allowed": spread.longer_share,
            "mean_travel_s": _tenth(spread.mean_travel_s),
            "mean_travel_s_without": _tenth(spread.mean_before_s),
            "households_overtaken_by_a_closing": ours.n_overtaken,
        },
        "nearest_and_fastest": base.as_json() | {"households_overtaken_by_a_closing": base.n_overtaken},
        "times_sooner_at_100_percent": round(p100 / t100, 2) if t100 and p100 else None,
        **with_seats,
        "user_equilibrium": simulate(cars, selfish, demand).as_json()
        | {"relative_gap": round(gap, 4), "note": "if all knew all queues and chose for themselves; nobody's route"},
        "band": {k: {"t90_min": v["t90_min"], "t100_min": v["t100_min"]} for k, v in band.items()},
        **scenario,
        "method": "the ways of households.csv through point queues without spill-back or signals: compares plans, does "
        "not promise hours",
    }


def _tenth(value: float) -> float | None:
    return round(value, 1) if np.isfinite(value) else None
