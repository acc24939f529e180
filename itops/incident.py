"""Incidents of the insured assets, as they were known on a day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from itops.fleet import Fleet
from itops.table import Checker, as_moment, as_text, read_rows

#: Columns of an incident table. `restored` blank: the ticket is open, its repair time is censored, not zero.
REQUIRED_COLUMNS = ("asset_id", "opened", "restored")
OPTIONAL_COLUMNS = ("incident_id", "device_class", "cause")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One outage of one asset."""

    asset_id: str
    device_class: str
    opened: datetime  #: UTC; when service was lost
    restored: datetime | None  #: UTC; when service was back, not when the ticket was closed; None: still out
    cause: str | None = None
    incident_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentTable:
    """The incidents of a submission, ordered by time and asset."""

    incidents: tuple[Incident, ...]
    ignored_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairTimes:
    """Hours from loss to restoration of service; where `restored` is false the outage lasted at least that long."""

    hours: NDArray[np.float64]  #: (n,) >= 0
    restored: NDArray[np.bool_]  #: (n,)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Midnight that begins `day` in `zone`."""
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Midnight that ends `day` in `zone`: what was known "as of" a day was known by then."""
    return start_of_day(day + timedelta(days=1), zone)


def read_incidents(text: str, *, fleet: Fleet, time_zone: ZoneInfo, table: str = "incidents") -> IncidentTable:
    """The incidents in a CSV text with the columns above; times without an offset are read in `time_zone`.

    Raises BadTable naming every bad row: an asset the fleet does not have, a device class that differs from the
    fleet's, a failure before commissioning (negative age) or after decommissioning, restoration before opening, the
    same outage twice.
    """
    found = read_rows(text, table=table, required=REQUIRED_COLUMNS, optional=OPTIONAL_COLUMNS)
    check = Checker(table)
    assets = {asset.asset_id: asset for asset in fleet.assets}
    first_line: dict[tuple[str, datetime], int] = {}
    incidents = []
    for row in found.rows:
        n_bad = len(check.bad_rows)
        asset_id = check.cell(row, "asset_id", as_text)
        opened = check.cell(row, "opened", lambda cell: as_moment(cell, time_zone))
        restored = (
            check.cell(row, "restored", lambda cell: as_moment(cell, time_zone)) if row.cells["restored"] else None
        )
        asset = assets.get(asset_id) if asset_id else None
        if asset_id and asset is None:
            check.refuse(row, "asset_id", "is not in the fleet table")
        if opened and restored and restored < opened:
            check.refuse(row, "restored", f"is before opened {row.cells['opened']}: the outage would be negative")
        if asset and row.cells["device_class"] and row.cells["device_class"] != asset.device_class:
            check.refuse(row, "device_class", f"is {asset.device_class!r} in the fleet table")
        if asset and opened:
            day = opened.astimezone(time_zone).date()
            if day < asset.commissioned_on:
                check.refuse(row, "opened", f"is before commissioned_on {asset.commissioned_on}: its age is negative")
            if asset.retired_on is not None and day > asset.retired_on:
                check.refuse(row, "opened", f"is after decommissioning: retired_on is {asset.retired_on}")
            key = (asset.asset_id, opened)
            if key in first_line:
                check.refuse(row, "opened", f"comes twice for this asset; first on line {first_line[key]}")
            first_line.setdefault(key, row.line)
        if len(check.bad_rows) > n_bad or asset is None or opened is None:
            continue
        incidents.append(
            Incident(
                asset_id=asset.asset_id,
                device_class=asset.device_class,
                opened=opened,
                restored=restored,
                cause=row.cells["cause"] or None,
                incident_id=row.cells["incident_id"] or None,
            )
        )
    check.finish()
    ordered = tuple(sorted(incidents, key=lambda incident: (incident.opened, incident.asset_id)))
    return IncidentTable(incidents=ordered, ignored_columns=found.ignored_columns)


def as_known_at(incidents: Sequence[Incident], moment: datetime) -> tuple[Incident, ...]:
    """The incidents as a record kept until `moment` shows them: none opened later, and open if restored later."""
    known = (incident for incident in incidents if incident.opened < moment)
    return tuple(
        replace(incident, restored=None) if incident.restored is not None and incident.restored > moment else incident
        for incident in known
    )


def opened_within(incidents: Sequence[Incident], start: datetime, end: datetime) -> tuple[Incident, ...]:
    """The incidents opened in [start, end)."""
    return tuple(incident for incident in incidents if start <= incident.opened < end)


def repair_times(incidents: Sequence[Incident], known_at: datetime) -> RepairTimes:
    """Hours out of service as known at `known_at`; tickets open then are censored there."""
    hours = [((incident.restored or known_at) - incident.opened).total_seconds() / 3600.0 for incident in incidents]
    restored = [incident.restored is not None for incident in incidents]
    return RepairTimes(hours=np.array(hours, dtype=np.float64), restored=np.array(restored, dtype=np.bool_))
