"""The drill's world as files that a user can look at, import by hand, or replay."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely

from geo.network import to_geojson
from tocsin.drill import play
from tocsin.drill.people import COUNTRY, CURRENCY, PERIL
from tocsin.drill.world import EVENT_NAME, PORTFOLIO, TENANT, World

_LOCATION_COLUMNS = (
    "PortNumber", "AccNumber", "LocNumber", "CountryCode", "Latitude", "Longitude", "StreetAddress", "OccupancyCode",
    "ConstructionCode", "LocPerilsCovered", "BuildingTIV", "OtherTIV", "ContentsTIV", "BITIV", "LocCurrency",
    "OEDVersion", "LocUserDef1",
)  # fmt: skip


def write(world: World, folder: Path, *, picture: bool = True) -> list[Path]:
    """Writes everything into `folder`; returns the files. The same world is the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        write_locations(world, folder / "locations.csv"),
        _json(folder / "roads.geojson", to_geojson(world.network)),
        _json(folder / "safe-zones.geojson", safe_zones(world)),
        _table(folder / "households.csv", _households(world)),
        _table(folder / "stations.csv", _stations(world)),
        _table(folder / "readings.csv", _readings(world)),
        _json(folder / "footprints.geojson", footprints(world)),
        _table(folder / "fleet.csv", world.fleet.devices),
        _table(folder / "incidents.csv", world.fleet.incidents),
        _json(folder / "submission.json", world.fleet.submission),
        _text(folder / "scenario.toml", _scenario(world)),
        _text(folder / "README.md", _readme(world)),
    ]
    messages = folder / "messages.ndjson"
    with messages.open("w", encoding="utf-8") as file:
        for at, topic, payload in play.messages(world):
            document = {"arrival": round(at.timestamp(), 3), "topic": topic, "payload": json.loads(payload)}
            file.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    written.append(messages)
    if picture:
        from tocsin.drill.picture import draw

        written.append(draw(world, folder / "world.png"))
    return written


def write_locations(world: World, path: Path) -> Path:
    """The OED location file."""
    return _table(
        path,
        (
            {
                "PortNumber": 1, "AccNumber": a.acc_number, "LocNumber": a.loc_number, "CountryCode": COUNTRY,
                "Latitude": "" if a.lat is None else f"{a.lat:.6f}",
                "Longitude": "" if a.lon is None else f"{a.lon:.6f}",
                "StreetAddress": a.street, "OccupancyCode": a.occupancy, "ConstructionCode": a.construction,
                "LocPerilsCovered": PERIL, "BuildingTIV": f"{a.building:.2f}", "OtherTIV": 0,
                "ContentsTIV": f"{a.contents:.2f}", "BITIV": f"{a.bi:.2f}", "LocCurrency": CURRENCY,
                "OEDVersion": "4.0.0", "LocUserDef1": "EXERCISE",
            }
            for a in world.locations
        ),
        columns=_LOCATION_COLUMNS,
    )  # fmt: skip


def safe_zones(world: World) -> dict[str, Any]:
    """Safe zones as `tocsin import safe-zones` reads them."""
    return _features(
        (
            {
                "id": z.code, "name": z.names["en"], "name:zh": z.names["zh"], "seats": z.seats,
                "accessible_seats": z.accessible_seats, "exercise": True,
            },
            {"type": "Point", "coordinates": [z.lon, z.lat]},
        )
        for z in world.safe_zones
    )  # fmt: skip


def footprints(world: World) -> dict[str, Any]:
    """Every version with its arrival zones; `arrival_min` 0 is what is inside at `valid_at`."""
    return _features(
        (
            {"version": version, "valid_at": at.isoformat(), "arrival_min": arrival, "exercise": True},
            json.loads(shapely.to_geojson(geometry)),
        )
        for version, (at, footprint) in enumerate(play.footprints(world), start=1)
        for arrival, geometry in [(0.0, footprint.geometry), *((z.arrival_min, z.geometry) for z in footprint.zones)]
    )


def _features(items: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": given, "geometry": geometry} for given, geometry in items],
    }


def _households(world: World) -> Iterable[dict[str, Any]]:
    for p in world.policyholders:
        home = world.locations[p.location]
        yield {
            "id": p.code, "lon": home.lon, "lat": home.lat, "people": p.people, "mode": "foot" if p.on_foot else "car",
            "name": p.name, "language": p.language, "account": home.acc_number, "location": home.loc_number,
            "needs": ";".join(p.needs), "channel": "fake", "address": f"{p.code.lower()}@drill.invalid",
        }  # fmt: skip


def _stations(world: World) -> Iterable[dict[str, Any]]:
    for sensor in world.sensors:
        yield {
            "code": sensor.code, "name": sensor.names["en"], "name_zh": sensor.names["zh"], "lon": sensor.lon,
            "lat": sensor.lat, "river": sensor.river, "basin": sensor.basin, "quantity": sensor.quantity,
            "interval_s": 600, "gateway": sensor.gateway,
            **{f"{level}_m": sensor.levels.get(level, "") for level in ("yellow", "orange", "red")},
        }  # fmt: skip


def _readings(world: World) -> Iterable[dict[str, Any]]:
    for sent in world.sent:
        sensor = world.sensors[sent.sensor]
        for at_h, value in sent.readings:
            yield {
                "arrival": world.at(sent.at_h).isoformat(), "station": sensor.code, "quantity": sensor.quantity,
                "observed_at": world.at(at_h).isoformat(), "value": value, "unit": sensor.unit,
            }  # fmt: skip


def _scenario(world: World) -> str:
    return (
        "# A drill: nothing here is real.\n"
        f'name = "{EVENT_NAME}"\n'
        "exercise = true\n"
        f'tenant = "{TENANT}"\n'
        f"seed = {world.seed}\n"
        f"starts_at = {world.starts_at.isoformat()}\n"
        f"ends_at = {world.ends_at.isoformat()}\n"
        'stations = "stations.csv"\n'
        'readings = "readings.csv"\n'
        'messages = "messages.ndjson"\n'
    )


def _readme(world: World) -> str:
    figures = "\n".join(f"- {name}: {value}" for name, value in play.summary(world).items())
    return (
        "# Exercise: the Tarn Valley flood\n\nMade up by `tocsin drill build`; described in docs/methods/drill.md. "
        "No place, person, number or address in it is real.\n\n"
        f"{figures}\n\n"
        f"Import by hand, into an exercise database: `tocsin import oed locations.csv --portfolio '{PORTFOLIO}' "
        f"--tenant {TENANT}`, `tocsin import roads roads.geojson --tenant {TENANT}`, "
        f"`tocsin import safe-zones safe-zones.geojson --tenant {TENANT}`, "
        f"`tocsin import households households.csv --tenant {TENANT} --portfolio '{PORTFOLIO}'`; "
        "price the fleet: `tocsin quote submission.json`.\n"
    )


def _json(path: Path, document: Any) -> Path:
    return _text(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _table(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str] | None = None) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, columns or list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
    return path
