"""Who and what is in the drill's valley: insured locations, policyholders with a language, households, safe zones.

Every name, address and number is made up; contact points are of the fake channel and of domains that do not exist.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geo.crs import FloatArray
from geo.network import RoadNetwork
from tocsin.drill.roads import Town
from tocsin.drill.terrain import PLANE, Terrain, cell_of

N_LOCATIONS, N_WITHOUT_PLACE = 20_000, 200
N_POLICYHOLDERS = 500
N_SAFE_ZONES = 8
CURRENCY = "EUR"
COUNTRY = "ZZ"  # ISO 3166 user-assigned: no country
PERIL = "ORF"  # OED: river flood

#: (share, OED occupancy code, construction codes, median building TIV, contents / building, BI / building)
_KINDS = (
    (0.74, 1051, (5050, 5100), 240_000.0, 0.35, 0.0),  # house
    (0.12, 1052, (5150,), 900_000.0, 0.25, 0.05),  # flats
    (0.09, 1100, (5100, 5150), 620_000.0, 0.8, 0.45),  # shop, office
    (0.05, 1150, (5200,), 2_400_000.0, 1.1, 0.6),  # works
)
_LANGUAGES = (("en", 0.55), ("zh", 0.35), ("fr", 0.06), ("es", 0.04))
_GIVEN = {
    "en": ("Alder", "Bryn", "Cass", "Dell", "Erin", "Finn", "Greer", "Hollis", "Iris", "Jude", "Kit", "Linden"),
    "zh": ("伟", "芳", "娜", "敏", "静", "强", "磊", "洋", "艳", "勇", "杰", "涛"),
    "fr": ("Aline", "Bastien", "Chloé", "Denis", "Élise", "Félix"),
    "es": ("Alba", "Bruno", "Carmen", "Diego", "Elena", "Fermín"),
}
_FAMILY = {
    "en": ("Ashdown", "Brookes", "Carrow", "Denholm", "Eastley", "Fenwick", "Garrow", "Hartley", "Millward", "Norwood"),
    "zh": ("王", "李", "张", "刘", "陈", "杨", "黄", "赵", "周", "吴"),
    "fr": ("Aubert", "Blanchet", "Carlier", "Delmas"),
    "es": ("Arroyo", "Benítez", "Castaño", "Duarte"),
}
_ZONE_NAMES = (
    ("Ridge School", "岭上学校"), ("Highfield Hall", "高地礼堂"), ("Beacon Sports Ground", "烽火台运动场"),
    ("Uplands Clinic", "高原诊所"), ("Summit Depot", "山顶车场"), ("Windmill Hill Centre", "风车山中心"),
    ("Old Quarry Shelter", "老采石场避难所"), ("Crest Farm Barns", "山脊农场"),
)  # fmt: skip


@dataclass(frozen=True)
class Location:
    """One row of the OED location file."""

    acc_number: str
    loc_number: str
    lon: float | None
    lat: float | None
    street: str
    occupancy: int
    construction: int
    building: float
    contents: float
    bi: float


@dataclass(frozen=True)
class Policyholder:
    """A person with a policy, a language and a home."""

    code: str
    name: str
    language: str
    location: int  #: index into the locations
    people: int
    on_foot: bool
    needs: tuple[str, ...]


@dataclass(frozen=True)
class SafeZone:
    """A place above any flood of the drill."""

    code: str
    names: dict[str, str]
    lon: float
    lat: float
    seats: int
    accessible_seats: int


def locations_of(
    terrain: Terrain, network: RoadNetwork, towns: tuple[Town, ...], rng: np.random.Generator
) -> tuple[tuple[Location, ...], FloatArray, FloatArray]:
    """The insured locations, and their x and y in local metres (also of those whose place the file does not tell)."""
    x, y, road = _places(terrain, network, towns, rng)
    kind = rng.choice(len(_KINDS), N_LOCATIONS, p=[k[0] for k in _KINDS])
    size = np.exp(rng.normal(0.0, 0.45, N_LOCATIONS))
    contents, bi = rng.uniform(0.8, 1.2, N_LOCATIONS), rng.uniform(0.7, 1.3, N_LOCATIONS)
    placeless = set(rng.choice(N_LOCATIONS, N_WITHOUT_PLACE, replace=False).tolist())
    # houses have a policy of their own; business accounts hold one to eight locations
    account = np.arange(N_LOCATIONS)
    business = np.flatnonzero(kind >= 2)
    sizes = rng.integers(1, 9, len(business))
    account[business] = N_LOCATIONS + np.repeat(np.arange(len(business)), sizes)[: len(business)]
    lon, lat = PLANE.inverse(x, y)
    found = []
    for i in range(N_LOCATIONS):
        _, occupancy, constructions, median, with_contents, with_bi = _KINDS[kind[i]]
        building = round(median * float(size[i]), -2)
        number = int(account[i])
        known = i not in placeless
        found.append(
            Location(
                acc_number=f"B{number - N_LOCATIONS + 1:05d}" if number >= N_LOCATIONS else f"H{number + 1:05d}",
                loc_number=f"L{i + 1:05d}",
                lon=round(float(lon[i]), 6) if known else None,
                lat=round(float(lat[i]), 6) if known else None,
                street=f"{1 + i % 180} {network.name(int(road[i])) or 'Valley Track'}",
                occupancy=occupancy,
                construction=constructions[i % len(constructions)],
                building=building,
                contents=round(building * with_contents * float(contents[i]), 2),
                bi=round(building * with_bi * float(bi[i]), 2),
            )
        )
    return tuple(found), x, y


def _places(
    terrain: Terrain, network: RoadNetwork, towns: tuple[Town, ...], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Beside the roads: mostly in the towns, never on a bridge and never in a river."""
    lines = network.plane_lines
    ends = shapely.get_coordinates(shapely.line_interpolate_point(lines, 0.5, normalized=True))
    lon, lat = network.plane.inverse(ends[:, 0], ends[:, 1])
    mx, my = PLANE.forward(lon, lat)
    in_town = np.zeros(network.n_roads, dtype=bool)
    for town in towns:
        in_town |= (np.abs(mx - town.x) < town.columns * 60.0) & (np.abs(my - town.y) < town.rows * 60.0)
    weight = network.road_length_m * np.where(in_town, 9.0, 1.0) * ~network.road_bridge
    road = rng.choice(network.n_roads, N_LOCATIONS * 2, p=weight / weight.sum())
    along = rng.uniform(0.05, 0.95, len(road))
    on = shapely.line_interpolate_point(lines[road], along, normalized=True)
    further = shapely.line_interpolate_point(lines[road], along + 0.02, normalized=True)
    p, q = shapely.get_coordinates(on), shapely.get_coordinates(further)
    side = np.where(rng.random(len(road)) < 0.5, 1.0, -1.0) * rng.uniform(10.0, 40.0, len(road))
    step = q - p
    step /= np.hypot(step[:, 0], step[:, 1])[:, None]
    lon, lat = network.plane.inverse(p[:, 0] - step[:, 1] * side, p[:, 1] + step[:, 0] * side)
    x, y = PLANE.forward(lon, lat)
    dry = shapely.distance(terrain.channel_lines, shapely.points(x, y)) > 45.0
    keep = np.flatnonzero(dry)[:N_LOCATIONS]
    return x[keep], y[keep], road[keep]


def policyholders_of(
    terrain: Terrain, locations: tuple[Location, ...], x: FloatArray, y: FloatArray, rng: np.random.Generator
) -> tuple[Policyholder, ...]:
    """Five hundred of those who live in a house whose place is known; six of ten near the river."""
    row, column = cell_of(x, y)
    height = terrain.hand[row, column]
    home = np.array([a.occupancy == 1051 and a.lon is not None for a in locations])
    low, high = np.flatnonzero(home & (height < 6.0)), np.flatnonzero(home & (height >= 6.0))
    n_low = min(300, len(low))
    chosen = np.sort(
        np.concatenate(
            [rng.choice(low, n_low, replace=False), rng.choice(high, N_POLICYHOLDERS - n_low, replace=False)]
        )
    )
    language = rng.choice([k for k, _ in _LANGUAGES], N_POLICYHOLDERS, p=[p for _, p in _LANGUAGES])
    people = rng.choice([1, 2, 3, 4, 5, 6], N_POLICYHOLDERS, p=[0.3, 0.32, 0.17, 0.13, 0.06, 0.02])
    on_foot = rng.random(N_POLICYHOLDERS) < 0.12
    need = rng.random(N_POLICYHOLDERS)
    found = []
    for k, place in enumerate(chosen):
        spoken = str(language[k])
        given, family = (str(rng.choice(names[spoken])) for names in (_GIVEN, _FAMILY))
        needs = ("wheelchair",) if need[k] < 0.04 else ("infant",) if need[k] < 0.12 else ()
        found.append(
            Policyholder(
                code=f"P{k + 1:03d}",
                name=f"{family}{given}" if spoken == "zh" else f"{given} {family}",
                language=spoken,
                location=int(place),
                people=int(people[k]),
                on_foot=bool(on_foot[k]),
                needs=needs,
            )
        )
    return tuple(found)


def safe_zones_of(
    terrain: Terrain, network: RoadNetwork, towns: tuple[Town, ...], largest: BaseGeometry, rng: np.random.Generator
) -> tuple[SafeZone, ...]:
    """Eight junctions at least 12 m above the river and 200 m from any water of the drill, near the towns first."""
    x, y = PLANE.forward(network.node_lon, network.node_lat)
    row, column = cell_of(x, y)
    shapely.prepare(largest)
    fit = (terrain.hand[row, column] > 12.0) & ~shapely.dwithin(shapely.points(x, y), largest, 200.0)
    nodes = np.flatnonzero(fit)
    seats = rng.integers(4, 13, N_SAFE_ZONES) * 50
    chosen: list[int] = []
    # one for each town, then one on the other bank of the largest towns
    bank = [(t, 0.0) for t in towns] + [(t, 1.0) for t in sorted(towns, key=lambda t: -t.columns * t.rows)[:2]]
    for town, other in bank:
        away = np.hypot(x[nodes] - town.x, y[nodes] - town.y)
        taken = np.isin(nodes, chosen)
        for c in chosen:
            taken |= np.hypot(x[nodes] - x[c], y[nodes] - y[c]) < 700.0
        if other:
            first = chosen[towns.index(town)]
            taken |= np.sign(y[nodes] - town.y) == np.sign(y[first] - town.y)
        chosen.append(int(nodes[int(np.argmin(np.where(taken, np.inf, away)))]))
    return tuple(
        SafeZone(
            code=f"SZ-{k + 1}",
            names={"en": _ZONE_NAMES[k][0], "zh": _ZONE_NAMES[k][1]},
            lon=float(network.node_lon[node]),
            lat=float(network.node_lat[node]),
            seats=int(seats[k]),
            accessible_seats=int(seats[k]) // 20,
        )
        for k, node in enumerate(chosen)
    )
