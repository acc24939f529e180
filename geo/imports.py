"""Files into the database: books of locations, roads, safe zones, households. All of a file, or nothing of it."""

import asyncio
import csv
import hashlib
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from math import nan
from pathlib import Path
from sys import intern
from typing import Any
from uuid import UUID

import numpy as np
from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput, TocsinError
from core.ids import derived_id
from geo import flood_choice, hazard, kept_files, repository, repository_books, repository_loss
from geo import network as roads
from geo.crs import WGS84, coordinate_fault
from geo.flood_choice import FloodChoice
from geo.oed import BadRow, LocationRow, PolicyRow, Reconciliation, read_accounts, read_locations
from geo.oed_lines import extra_json
from geo.plausibility import Codes, Doubt, Quality, doubtful_coordinates, doubtful_values, outside_country
from geo.repository_books import LocationImport
from store.pool import AsyncConnection


class RowsRefused(InvalidInput):
    """The file has rows that cannot be taken; nothing was imported."""

    def __init__(self, file: str, rows: Sequence[BadRow]) -> None:
        self.rows = tuple(rows)
        self.file = file
        count = f"{len(rows)} bad row{'' if len(rows) == 1 else 's'}"
        super().__init__(f"{file}: {count}; nothing was imported\n" + "\n".join(f"  {row}" for row in rows))


class BadFile(InvalidInput):
    """This file cannot be read."""


class NotReconciled(TocsinError):
    """What the database holds is not what the file held: the import was undone."""


@dataclass(frozen=True)
class ImportReport:
    """What an import did."""

    portfolio_id: UUID
    unchanged: bool  #: the same file was imported before: nothing was done
    n_policies: int
    n_removed: int  #: locations of the book before that are not in this file
    currency: str
    reconciliation: Reconciliation
    refused: tuple[BadRow, ...]
    doubtful: tuple[Doubt, ...] = ()  #: imported as they came, and probably wrong
    quality: Quality = field(default_factory=Quality)
    terms_problem: str = ""  #: why losses cannot be computed net of terms, as far as it shows without an event

    def as_json(self) -> dict[str, Any]:
        return {
            "portfolio_id": str(self.portfolio_id),
            "unchanged": self.unchanged,
            "currency": self.currency,
            "n_locations": self.reconciliation.n_mapped + self.reconciliation.n_unknown,
            "n_policies": self.n_policies,
            "n_removed": self.n_removed,
            "reconciliation": self.reconciliation.as_json(),
            "quality": self.quality.as_json(),
            "terms_problem": self.terms_problem,
            "refused_rows": [{"line": r.line, "field": r.field, "reason": r.reason} for r in self.refused],
            "doubtful_rows": [{"line": d.line, "field": d.field, "reason": d.reason} for d in self.doubtful],
        }


async def import_oed(
    conn: AsyncConnection,
    path: Path,
    *,
    tenant_id: UUID,
    portfolio: str,
    accounts: Path | None = None,
    currency: str | None = None,
    epsg: int = WGS84,
    encoding: str = "utf-8-sig",
    skip_bad: bool = False,
    datum: str = "wgs84",
    ri_info: Path | None = None,
    ri_scope: Path | None = None,
    rates: Path | None = None,
    flood: FloodChoice = flood_choice.DEFAULT,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """A book of locations from an OED location file, in place of what the portfolio of that name held.

    Locations that stay keep their ids. With `skip_bad` good rows are imported although others are refused; without
    it one bad row refuses the file. `flood` is which depth-damage curves the book's losses take. `progress` is told the
    rows read so far. Raises RowsRefused (every bad row with line, field and reason), BadOedFile, StillNeeded,
    NotReconciled.
    """
    refused: list[BadRow] = []
    reconciliation = Reconciliation()
    options = f"{epsg}|{currency}|{skip_bad}".encode() + (f"|{datum}".encode() if datum != "wgs84" else b"")
    quality, seen = Quality(), _Seen()
    if (ri_info is None) != (ri_scope is None):
        raise InvalidInput("reinsurance info and scope come together or not at all")
    by_kind = {"location": path, "account": accounts, "ri_info": ri_info, "ri_scope": ri_scope, "rates": rates}
    kept = {kind: file for kind, file in by_kind.items() if file is not None}
    files = list(kept.values())
    digest = _sha256(files, options)
    async with repository.transaction(conn):
        staged = LocationImport(conn, tenant_id, portfolio)
        portfolio_id, before = await staged.begin()
        chunks = read_locations(path, refused, reconciliation, epsg=epsg, encoding=encoding, datum=datum)

        def read() -> list[LocationRow] | None:
            rows = next(chunks, None)
            seen.add(rows or (), quality)
            return rows

        # the next rows are read while the database stores the last ones
        rows = await asyncio.to_thread(read)
        while rows is not None:
            ahead = asyncio.create_task(asyncio.to_thread(read))
            try:
                if not refused or skip_bad:
                    await staged.add(rows)
            finally:
                rows = await ahead
            if progress is not None:
                progress(reconciliation.n_mapped + reconciliation.n_unknown + reconciliation.n_refused)
        if refused and not skip_bad:
            raise RowsRefused(path.name, refused)
        if not reconciliation.n_mapped + reconciliation.n_unknown:
            raise RowsRefused(path.name, refused)
        policies: list[PolicyRow] | None = None
        if accounts is not None:
            bad: list[BadRow] = []
            policies = read_accounts(accounts, bad, encoding=encoding)
            if bad and not skip_bad:
                raise RowsRefused(accounts.name, bad)
            refused += bad
        done = await staged.finish(portfolio_id, policies, currency, digest, flood.as_json())
        _reconcile(reconciliation, done["stored"])
        packed = {kind: kept_files.pack(file, kind, encoding) for kind, file in kept.items()}
        await repository_loss.save_files(conn, tenant_id, portfolio_id, packed)
        terms_problem = kept_files.problem_of(packed, done["currency"])
    return ImportReport(
        portfolio_id=portfolio_id,
        unchanged=before == digest,
        n_policies=done["n_policies"],
        n_removed=done["n_removed"],
        currency=done["currency"],
        reconciliation=reconciliation,
        refused=tuple(refused),
        doubtful=tuple(seen.doubtful()),
        quality=quality,
        terms_problem=terms_problem,
    )


class _Seen:
    """What the checks over a whole book need of each row: numbers in arrays, since a book has a million of them."""

    def __init__(self) -> None:
        self.line, self.lon, self.lat = array("q"), array("d"), array("d")  # NaN where there is no place
        self.building, self.contents, self.occupancy = array("q"), array("q"), array("q")
        self.country: list[str] = []
        self.currency: list[str] = []
        self.codes = Codes()

    def add(self, rows: Sequence[LocationRow], quality: Quality) -> None:
        self.line.extend([row.line for row in rows])
        self.lon.extend([nan if row.lon is None else row.lon for row in rows])
        self.lat.extend([nan if row.lat is None else row.lat for row in rows])
        self.building.extend([row.building_cents for row in rows])
        self.contents.extend([row.contents_cents for row in rows])
        self.occupancy.extend([row.occupancy_code or 0 for row in rows])
        self.country += [intern(row.country_code) for row in rows]
        self.currency += [intern(row.currency) for row in rows]
        self.codes.add(rows)
        quality.add(rows)

    def doubtful(self) -> list[Doubt]:
        lon, lat = np.array(self.lon), np.array(self.lat)
        building, contents, occupancy = (np.array(one) for one in (self.building, self.contents, self.occupancy))
        where = outside_country(self.line, lon, lat, self.country)
        told = {doubt.line for doubt in where}
        return sorted(
            [
                *where,
                *(one for one in doubtful_coordinates(self.line, lon, lat, self.country) if one.line not in told),
                *doubtful_values(self.line, building, contents, self.currency, occupancy),
                *self.codes.doubtful(),
            ],
            key=lambda doubt: doubt.line,
        )


def _sha256(files: Sequence[Path], options: bytes) -> bytes:
    total = hashlib.sha256(options)
    for file in files:
        try:
            with file.open("rb") as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
        except OSError as error:
            raise BadFile(f"{file}: {error.strerror}") from error
    return total.digest()


def _reconcile_file(told: Reconciliation) -> None:
    if any(told.difference().values()) or any(any(left.values()) for left in told.reasons_difference().values()):
        raise NotReconciled(difference=told.difference(), by_reason=told.reasons_difference())


@dataclass(frozen=True)
class Survey:
    """What a location file holds, without storing it."""

    reconciliation: Reconciliation
    refused: tuple[BadRow, ...]
    doubtful: tuple[Doubt, ...]
    quality: Quality

    def as_json(self) -> dict[str, Any]:
        return {
            "n_locations": self.reconciliation.n_mapped + self.reconciliation.n_unknown,
            "reconciliation": self.reconciliation.as_json(),
            "quality": self.quality.as_json(),
            "refused_rows": [{"line": r.line, "field": r.field, "reason": r.reason} for r in self.refused],
            "doubtful_rows": [{"line": d.line, "field": d.field, "reason": d.reason} for d in self.doubtful],
        }


def survey(
    path: Path,
    *,
    epsg: int = WGS84,
    encoding: str = "utf-8-sig",
    datum: str = "wgs84",
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """What an import would say of a location file. Raises BadOedFile, NotReconciled."""
    refused: list[BadRow] = []
    told, quality, seen = Reconciliation(), Quality(), _Seen()
    for rows in read_locations(path, refused, told, epsg=epsg, encoding=encoding, datum=datum):
        seen.add(rows, quality)
        if progress is not None:
            progress(told.n_mapped + told.n_unknown + told.n_refused)
    _reconcile_file(told)
    return Survey(told, tuple(refused), tuple(seen.doubtful()), quality)


def _reconcile(told: Reconciliation, stored: Sequence[tuple[bool, str, int, Any]]) -> None:
    """TIV in = mapped + refused + unknown, and what is stored is what was mapped or is unknown: to the cent."""
    _reconcile_file(told)
    for placed, expected, n in ((True, told.mapped, told.n_mapped), (False, told.unknown, told.n_unknown)):
        found = {currency: int(cents) for known, currency, _, cents in stored if known is placed}
        count = sum(rows for known, _, rows, _ in stored if known is placed)
        if found != expected or count != n:
            raise NotReconciled(placed=placed, read=expected, stored=found, n_read=n, n_stored=count)


# -------------------------------------------------------------------- roads
async def import_roads(
    conn: AsyncConnection,
    network: roads.RoadNetwork,
    *,
    home: Path,
    code: str,
    tenant_id: UUID | None,
    extract_date: date | None = None,
) -> tuple[UUID, int, bool]:
    """(id, version, whether it is new) of the network, kept under `home`/roads."""
    file, sha256 = roads.save(network, home / "roads")
    async with repository.transaction(conn):
        return await repository.save_network(
            conn,
            tenant_id=tenant_id,
            code=code,
            sha256=sha256,
            file=file,
            n_nodes=network.n_nodes,
            n_edges=network.n_edges,
            extract_date=extract_date,
        )


def read_roads(path: Path) -> roads.RoadNetwork:
    """A network from GeoJSON lines or from our own .roads; raises BadFile, BadNetwork."""
    if path.suffix == ".roads":
        try:
            return roads.RoadNetwork.from_bytes(path.read_bytes())
        except OSError as error:
            raise BadFile(f"{path}: {error.strerror}") from error
    return roads.from_geojson(read_json(path))


def read_json(path: Path) -> Any:
    """A JSON document; raises BadFile."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path.name}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise BadFile(f"{path.name}, line {error.lineno}: not JSON: {error.msg}") from error


def read_areas(path: Path, name: str = "name") -> list[tuple[str, BaseGeometry]]:
    """(name, checked polygon) of each feature of a GeoJSON file; raises BadFile, BadFootprint with the feature."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise BadFile(f"{path.name}: it is not GeoJSON")
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    found = []
    for number, feature in enumerate(features or ()):
        if not isinstance(feature, dict):
            raise BadFile(f"{path.name}: features[{number}] is not a feature")
        geometry = feature.get("geometry") if feature.get("type") == "Feature" else feature
        given = feature.get("properties") or {}
        polygon = hazard.from_geojson(geometry, field=f"{path.name}: features[{number}].geometry")
        checked = hazard.check_polygon(polygon, field=f"{path.name}: features[{number}].geometry")
        found.append((str(given.get(name) or number), checked))
    if not found:
        raise BadFile(f"{path.name}: there are no polygons in it")
    return found


# -------------------------------------------------------------------- safe zones
def read_safe_zones(path: Path, *, need_seats: bool = True) -> list[dict[str, Any]]:
    """Safe zones from GeoJSON points (properties id, name, name:zh, seats, accessible_seats).

    Without `need_seats` seats may be left out; they are then told as 0, and nobody may be seated by them.
    Raises BadFile naming the feature and the field.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise BadFile(f"{path.name}: it is not a GeoJSON FeatureCollection")
    zones: list[dict[str, Any]] = []
    for number, feature in enumerate(document.get("features") or ()):
        where = f"{path.name}: features[{number}]"
        try:
            given = dict(feature.get("properties") or {})
            if feature["geometry"]["type"] != "Point":
                raise BadFile(f"{where}: a safe zone is a Point, not a {feature['geometry']['type']}")
            lon, lat = (float(v) for v in feature["geometry"]["coordinates"][:2])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadFile(f"{where}: it has no point with two numbers") from error
        if fault := coordinate_fault(lon, lat):
            raise BadFile(f"{where}: {fault}")
        code = str(given.get("id") or given.get("code") or "")
        if not code:
            raise BadFile(f"{where}.id: it is missing")
        if code in {zone["code"] for zone in zones}:
            raise BadFile(f"{where}.id: {code!r} is there twice")
        names = {"en": str(given["name"])} if given.get("name") else {"en": code}
        names |= {key[5:]: str(value) for key, value in given.items() if key.startswith("name:") and value}
        zones.append(
            {
                "code": code, "names": names, "lon": lon, "lat": lat,
                "seats": _count(given, "seats", where, default=None if need_seats else 0),
                "accessible_seats": _count(given, "accessible_seats", where, default=0),
            }
        )  # fmt: skip
    if not zones:
        raise BadFile(f"{path.name}: there are no safe zones in it")
    return zones


def _count(given: Mapping[str, Any], name: str, where: str, *, default: int | None = None) -> int:
    value = given.get(name)
    if value in (None, ""):
        if default is not None:
            return default
        raise BadFile(f"{where}.{name}: it is missing")
    try:
        number = int(str(value))
    except ValueError:
        raise BadFile(f"{where}.{name}: {value!r} is not a whole number") from None
    if number < 0:
        raise BadFile(f"{where}.{name}: {number} is negative")
    return number


# -------------------------------------------------------------------- people
@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A policyholder with a household and contact points, as a file or the drill gives them."""

    code: str
    name: str
    language: str
    lon: float
    lat: float
    people: int = 1
    mode: str = "car"
    needs: tuple[str, ...] = ()
    account: str | None = None  #: OED account and location that they are insured by
    location: str | None = None
    contacts: tuple[tuple[str, Mapping[str, str]], ...] = ()  #: (channel, address)


_HOUSEHOLD_COLUMNS = ("id", "lon", "lat")


def read_households(
    path: Path, refused: list[BadRow], refused_ids: dict[int, str] | None = None
) -> list[Person]:  # fmt: skip
    """People from CSV: id, lon, lat, and optionally people, mode (car or foot), name, language, account, location,
    needs (separated by ;), channel, address. Every bad row is appended to `refused`, and its id, where it has one, to
    `refused_ids` under its line; raises BadFile."""
    found: dict[str, Person] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in _HOUSEHOLD_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise BadFile(f"{path.name}: the header lacks {', '.join(missing)}")
            for row in reader:
                fault = _person(row, found)
                if fault is not None:
                    refused.append(BadRow(reader.line_num, *fault))
                    if refused_ids is not None and (row.get("id") or "").strip():
                        refused_ids[reader.line_num] = str(row["id"]).strip()
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadFile(f"{path.name}: {error}") from error
    if not found and not refused:
        raise BadFile(f"{path.name}: there are no households in it")
    return list(found.values())


def _person(row: Mapping[str | None, Any], found: dict[str, Person]) -> tuple[str, str] | None:
    """Adds the row's person; (field, reason) where it cannot be taken."""
    if None in row or any(value is None for value in row.values()):
        return "row", "it has another number of fields than the header"
    text = {str(name): str(value).strip() for name, value in row.items()}
    code = text["id"]
    if not code:
        return "id", "it is empty"
    if code in found:
        return "id", f"{code!r} is there twice"
    try:
        lon, lat = float(text["lon"]), float(text["lat"])
    except ValueError:
        return "lon", f"{text['lon']!r}, {text['lat']!r} are not two numbers"
    if fault := coordinate_fault(lon, lat):
        return "lon", fault
    try:
        people = int(text.get("people") or 1)
    except ValueError:
        return "people", f"{text['people']!r} is not a whole number"
    if people < 1:
        return "people", f"{people} is less than one"
    mode = text.get("mode") or "car"
    if mode not in ("car", "foot"):
        return "mode", f"{mode!r} is neither car nor foot"
    channel, address = text.get("channel", ""), text.get("address", "")
    if bool(channel) != bool(address):
        return "channel", "channel and address come together or not at all"
    if channel and channel not in ("web_push", "email", "webhook", "sms", "voice", "fake"):
        return "channel", f"{channel!r} is no channel"
    found[code] = Person(
        code=code,
        name=text.get("name") or code,
        language=text.get("language") or "en",
        lon=lon,
        lat=lat,
        people=people,
        mode=mode,
        needs=tuple(need for need in text.get("needs", "").split(";") if need),
        account=text.get("account") or None,
        location=text.get("location") or None,
        contacts=((channel, {"to": address}),) if channel else (),
    )
    return None


async def import_people(
    conn: AsyncConnection,
    people: Sequence[Person],
    *,
    tenant_id: UUID,
    portfolio_id: UUID | None = None,
    consent_at: datetime | None = None,
) -> list[UUID]:
    """Saves policyholders with their households and contact points; returns the policyholders' ids in order.

    The ids come from tenant and code, so that the same file twice is the same people. Consent to be warned counts from
    `consent_at` (now).
    """
    accounts = sorted({p.account for p in people if p.account})
    places: dict[tuple[str, str], int] = {}
    policies: dict[str, UUID] = {}
    async with repository.transaction(conn):
        if portfolio_id is not None and accounts:
            places = await repository_books.location_ids(conn, portfolio_id, accounts)
            policies = await repository_books.policy_ids(conn, portfolio_id, accounts)
        when = consent_at or datetime.now(UTC)
        ids: list[UUID] = []
        rows: list[dict[str, Any]] = []
        for p in people:
            policyholder_id = derived_id("policyholder", tenant_id, p.code)
            contacts = [
                {
                    "contact_point_id": derived_id("contact", policyholder_id, channel, extra_json(address)),
                    "channel": channel, "address": dict(address), "rank": rank, "consent_at": when,
                }
                for rank, (channel, address) in enumerate(p.contacts, start=1)
            ]  # fmt: skip
            ids.append(policyholder_id)
            rows.append(
                {
                    "policyholder_id": policyholder_id, "tenant_id": tenant_id,
                    "policy_id": policies.get(p.account or ""),
                    "location_id": places.get((p.account or "", p.location or "")), "name": p.name,
                    "language": p.language, "household_id": derived_id("household", policyholder_id), "lon": p.lon,
                    "lat": p.lat, "people": p.people, "mode": p.mode, "needs": list(p.needs), "contacts": contacts,
                }
            )  # fmt: skip
        await repository.save_policyholders(conn, rows)
    return ids
