"""The insured assets and the device-years they are in service."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from itops.table import BadRow, BadTable, Checker, as_amount, as_date, as_text, read_rows

#: Columns of a fleet table. A blank cell means unknown, except `retired_on`, where it means still in service.
REQUIRED_COLUMNS = ("asset_id", "device_class", "commissioned_on")
OPTIONAL_COLUMNS = ("manufacturer", "model", "site", "retired_on", "value", "redundancy", "sla_tier", "monitored")
#: What three of them may say.
CHOICES = {
    "redundancy": ("N", "N+1", "2N"),
    "sla_tier": ("bronze", "silver", "gold", "platinum"),
    "monitored": ("yes", "no"),
}

#: Mean length of a Gregorian calendar year in days to two places; exposure is counted by the day.
DAYS_PER_YEAR = 365.25
#: Dates before this one are what some systems write for an unknown day, not the age of a device.
_EARLIEST = date(1970, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One device."""

    asset_id: str
    device_class: str
    commissioned_on: date  #: first day in service
    retired_on: date | None  #: first day no longer in service; None: in service until further notice
    manufacturer: str | None = None
    model: str | None = None
    site: str | None = None
    value: Decimal | None = None  #: replacement cost new, in the submission's currency; None: unknown
    redundancy: str | None = None  #: of its feeds: one of CHOICES; None: unknown
    sla_tier: str | None = None
    monitored: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The assets of a submission, ordered by asset_id, so that a file's row order changes nothing."""

    assets: tuple[Asset, ...]
    ignored_columns: tuple[str, ...] = ()

    def classes(self) -> tuple[str, ...]:
        """Device classes present, in alphabetical order."""
        return tuple(sorted({asset.device_class for asset in self.assets}))


def read_fleet(text: str, *, known_classes: Collection[str], table: str = "fleet") -> Fleet:
    """The fleet in a CSV text with the columns above.

    Raises BadTable naming every bad row: an unknown class, a blank or impossible date, retirement before
    commissioning, an asset_id that comes twice, a negative value.
    """
    found = read_rows(text, table=table, required=REQUIRED_COLUMNS, optional=OPTIONAL_COLUMNS)
    if not found.rows:
        raise BadTable(
            table, [BadRow(line=1, field="asset_id", value="", reason="the table has a header and no device")]
        )
    check = Checker(table)
    known = ", ".join(sorted(known_classes))
    first_line: dict[str, int] = {}
    assets = []
    for row in found.rows:
        n_bad = len(check.bad_rows)
        asset_id = check.cell(row, "asset_id", as_text)
        device_class = check.cell(row, "device_class", as_text)
        commissioned_on = check.cell(row, "commissioned_on", as_date)
        retired_on = check.cell(row, "retired_on", as_date) if row.cells["retired_on"] else None
        value = check.cell(row, "value", as_amount) if row.cells["value"] else None
        if device_class and device_class not in known_classes:
            check.refuse(row, "device_class", f"is not a known class; known are {known}")
        for name, choices in CHOICES.items():
            if row.cells[name] and row.cells[name] not in choices:
                check.refuse(row, name, f"is not one of {', '.join(choices)}")
        if commissioned_on and commissioned_on < _EARLIEST:
            check.refuse(
                row,
                "commissioned_on",
                f"is before {_EARLIEST}: no such device is that old; an unknown day needs the real one",
            )
        if asset_id:
            if asset_id in first_line:
                check.refuse(row, "asset_id", f"comes twice; first on line {first_line[asset_id]}")
            first_line.setdefault(asset_id, row.line)
        if commissioned_on and retired_on and retired_on < commissioned_on:
            check.refuse(row, "retired_on", f"is before commissioned_on {commissioned_on}: service would be negative")
        if len(check.bad_rows) > n_bad or not (asset_id and device_class and commissioned_on):
            continue
        assets.append(
            Asset(
                asset_id=asset_id,
                device_class=device_class,
                commissioned_on=commissioned_on,
                retired_on=retired_on,
                manufacturer=row.cells["manufacturer"] or None,
                model=row.cells["model"] or None,
                site=row.cells["site"] or None,
                value=value,
                **{name: row.cells[name] or None for name in CHOICES},
            )
        )
    check.finish()
    return Fleet(assets=tuple(sorted(assets, key=lambda asset: asset.asset_id)), ignored_columns=found.ignored_columns)


def device_days(asset: Asset, start: date, end: date) -> int:
    """Days of [start, end) on which the asset is in service."""
    first = max(asset.commissioned_on, start)
    last = end if asset.retired_on is None else min(asset.retired_on, end)
    return max((last - first).days, 0)


def site_days(assets: Iterable[Asset], start: date, end: date) -> dict[str, int]:
    """Days of [start, end) on which a site has a device in service, by site; one of no known site is left out."""
    spans = dict[str, list[tuple[date, date]]]()
    for asset in assets:
        first = max(asset.commissioned_on, start)
        last = end if asset.retired_on is None else min(asset.retired_on, end)
        if asset.site and first < last:
            spans.setdefault(asset.site, []).append((first, last))
    days = dict[str, int]()
    for site, found in spans.items():
        reached, n = start, 0
        for first, last in sorted(found):
            n += max((last - max(first, reached)).days, 0)
            reached = max(reached, last)
        days[site] = n
    return days


def exposure_years(assets: Sequence[Asset], start: date, end: date) -> dict[str, float]:
    """Device-years in service in [start, end) by device class, pro rata by day; a class without any has 0."""
    days: dict[str, int] = {}
    for asset in assets:
        days[asset.device_class] = days.get(asset.device_class, 0) + device_days(asset, start, end)
    return {device_class: n / DAYS_PER_YEAR for device_class, n in sorted(days.items())}
