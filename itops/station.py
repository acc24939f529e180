"""What a managed service costs: engineers on call and spare parts on the shelf, by queueing and stock theory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itops.reliability import HOURS_PER_YEAR, Queue, engineers_needed, spare_parts

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Spare parts of one device class."""

    device_class: str
    demand_per_year: float  #: failures that take a part
    parts: int  #: the fewest that last through a delivery with the tariff's probability
    value_usd: float  #: of one part


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """The station that serves the insured beside its other customers."""

    engineers: Queue  #: on call at any hour
    wait_h: float  #: within which the tariff's share of incidents is attended to
    share_of_load: float  #: the insured's part of the station's incidents
    stock: tuple[Stock, ...]
    engineers_usd: float  #: the insured's part of the engineers' hours in the period
    spares_usd: float  #: of holding the stock in the period


def station_for(
    incidents_per_year: Mapping[str, float],
    value_usd: Mapping[str, float | None],
    tiers: set[str | None],
    years: float,
    table: Mapping[str, Any],
) -> Station | None:
    """The station for these incidents a year by device class; None where nothing fails.

    Engineers by Erlang C on the station's whole load, so that a small customer does not pay a crew of its own; its part
    is its share of the load. `value_usd` is the mean value of a device of a class, None where no value is known: then
    the table's stands.
    """
    own = sum(incidents_per_year.values())
    if own <= 0:
        return None
    other = float(table["other_incidents_per_h"])
    wait_h = min(float(table["wait_h"][tier or "silver"]) for tier in tiers or {None})
    arrivals = other + own / HOURS_PER_YEAR
    crew = engineers_needed(arrivals, float(table["hours_each"]), wait_h, float(table["share"]))
    share = own / HOURS_PER_YEAR / arrivals
    stock = []
    for name, n in sorted(incidents_per_year.items()):
        demand = n * float(table["part_share"])
        lead = float(table["lead_time_days"]) / DAYS_PER_YEAR
        known = value_usd.get(name)
        value = (float(table["device_value_usd"][name]) if known is None else known) * float(table["part_value_share"])
        parts = spare_parts(demand, lead, float(table["fill_probability"]))
        stock.append(Stock(device_class=name, demand_per_year=demand, parts=parts, value_usd=value))
    return Station(
        engineers=crew,
        wait_h=wait_h,
        share_of_load=share,
        stock=tuple(stock),
        engineers_usd=crew.servers * HOURS_PER_YEAR * years * float(table["engineer_usd_per_h"]) * share,
        spares_usd=sum(one.parts * one.value_usd for one in stock) * float(table["holding_share"]) * years,
    )
