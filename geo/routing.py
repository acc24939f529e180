"""Every household's way out: doors, sweeps, choice and seats put together (docs/methods/evacuation.md)."""

from collections.abc import Sequence

from core.errors import InvalidInput
from geo.closing import Override, opened
from geo.evacuation import Doors, Forecast, Households, Margins, NoSafeZones, Plan, SafeZones, Seats, find_doors
from geo.hazard import Hazard
from geo.network import RoadNetwork
from geo.planner import Planner
from geo.seats import seat_everyone


def plan_routes(
    network: RoadNetwork,
    hazard: Hazard | Sequence[Forecast],
    zones: SafeZones,
    households: Households,
    *,
    now_s: float = 0.0,
    margins: Margins | None = None,
    with_points: bool = True,
    doors: Doors | None = None,
    overrides: Sequence[Override] = (),
    seats: Seats | None = None,
) -> Plan:
    """Every household's way out of a hazard, or of a weighted ensemble of forecasts.

    With several forecasts a road counts as closed from the moment before which it closes in no more than
    1 - margins.quantile of the weight; a leave-by holds under at least margins.quantile of it. `doors` (`find_doors`)
    may be kept from one footprint to the next. A safe zone that the hazard has reached, or is forecast to reach, is
    not offered as long as another remains. Raises NoSafeZones when none was given; when all are under the hazard or
    off the roads, everyone is told so.
    """
    if not len(zones.lon):
        raise NoSafeZones()
    forecasts = (Forecast(hazard=hazard),) if isinstance(hazard, Hazard) else tuple(hazard)
    if not forecasts or min(f.weight for f in forecasts) <= 0 or len({f.hazard.peril for f in forecasts}) > 1:
        raise InvalidInput("hazard: forecasts need weights above 0 and one peril")
    margins = margins or Margins()
    network = opened(network, overrides)
    doors = doors or find_doors(network, households, margins)
    planner = Planner(network, forecasts, zones, households, doors, now_s, margins, tuple(overrides))
    columns, trees = planner.everyone()
    seated = seat_everyone(planner, columns, trees, seats) if seats is not None else None
    return Plan(
        network, zones, households, doors, columns, trees, planner.closed, now_s, margins, planner.zone_close,
        planner.zone_on_network, planner.offered, planner.reached - now_s, with_points, seated,
    )  # fmt: skip
