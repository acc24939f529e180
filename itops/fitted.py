"""A fleet and its record, fitted: the rate of every device and the repair times of its class."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from itops import frequency, incident, severity
from itops.alarms import multiplier
from itops.book import Book
from itops.dependency import Service
from itops.fleet import DAYS_PER_YEAR, Asset, Fleet, device_days
from itops.incident import Incident, IncidentTable
from itops.losses import Capped
from itops.submission import Submission, services_on

#: Devices without a site are taken to stand together: that is the careful reading.
UNKNOWN_SITE = "(unknown site)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One asset with what acts on it in the policy period."""

    asset: Asset
    site: str
    record_relativity: float  #: of its rate in the exposure window
    relativity: float  #: of its rate in the policy period, alarms and service plan left out
    alarm: float  #: multiplier of its rate by its alarms, averaged over the period; 1 without
    years_in_force: float
    age_years: float  #: at the middle of the policy period


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassModel:
    """One device class, fitted."""

    name: str
    frequency: frequency.Frequency  #: of a device-year of relativity 1
    repair: severity.Updated
    capped: Capped
    exposure_years: float  #: on record, in device-years
    years_in_force: float
    weighted_years: float  #: in force, times relativity, alarm and plan
    plain_years: float  #: the same with every relativity 1
    n_open: int

    @property
    def expected_incidents(self) -> float:
        return self.frequency.rate_per_year * self.weighted_years


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The fleet, fitted to its record."""

    devices: tuple[Device, ...]
    classes: Mapping[str, ClassModel]
    services: tuple[Service, ...]
    plan_hazard: float  #: multiplier of every rate by the service plan that was bought
    n_sites: int
    site_years: float  #: of record
    n_site_shocks: int  #: found in the record as bursts
    n_burst_incidents: int
    n_outside: int
    n_later: int

    def rate_of(self, device: Device) -> float:
        """Incidents of a device in a year in force."""
        model = self.classes[device.asset.device_class]
        return model.frequency.rate_per_year * device.relativity * device.alarm * self.plan_hazard


def age_factor(age_years: float, book: Book) -> float:
    """Relativity of a device's age."""
    age = book.tariff["relativity"]["age"]
    at = sum(age_years >= float(edge) for edge in age["upto_years"])
    return float(age["factor"][at])


def _middle(start: date, end: date) -> date:
    return start + (end - start) / 2


def _relativity(asset: Asset, at: date, book: Book) -> float:
    table = book.tariff["relativity"]
    age = max((at - asset.commissioned_on).days, 0) / DAYS_PER_YEAR
    factor = age_factor(age, book)
    for name in ("redundancy", "monitored"):
        value = getattr(asset, name)
        factor *= 1.0 if value is None else float(table[name][value])
    return factor


def split_bursts(
    incidents: Sequence[Incident], site_of: Mapping[str, str], book: Book
) -> tuple[tuple[Incident, ...], int]:
    """Incidents without those that are one event of a site, and the number of such events.

    A burst is a run of one site's incidents with gaps of at most some minutes that hits a share of its devices.
    """
    rule = book.shocks["burst"]
    gap = timedelta(minutes=float(rule["minutes"]))
    population = Counter(site_of.values())
    by_site: dict[str, list[Incident]] = defaultdict(list)
    for item in incidents:
        by_site[site_of[item.asset_id]].append(item)
    kept: list[Incident] = []
    n = 0
    for site, items in by_site.items():
        items.sort(key=lambda one: (one.opened, one.asset_id))
        run: list[Incident] = []
        least = max(float(rule["least_devices"]), float(rule["least_share"]) * population[site])
        for item, after in itertools.zip_longest(items, items[1:]):
            run.append(item)
            if after is not None and after.opened - item.opened <= gap:
                continue
            if site != UNKNOWN_SITE and len({one.asset_id for one in run}) >= least:
                n += 1
            else:
                kept += run
            run = []
    return tuple(sorted(kept, key=lambda one: (one.opened, one.asset_id))), n


def fit(submission: Submission, fleet: Fleet, incidents: IncidentTable, book: Book) -> Fitted:
    """The fleet's rates and repair times as of the submission's date. Raises BadSubmission."""
    services = services_on(submission, fleet)
    known_at = incident.end_of_day(submission.as_of, submission.time_zone)
    known = incident.as_known_at(incidents.incidents, known_at)
    counted = incident.opened_within(
        known,
        incident.start_of_day(submission.exposure_from, submission.time_zone),
        incident.start_of_day(submission.exposure_to, submission.time_zone),
    )
    site_of = {asset.asset_id: asset.site or UNKNOWN_SITE for asset in fleet.assets}
    alone, n_shocks = split_bursts(counted, site_of, book)
    alarmed = defaultdict(list)
    for alarm in submission.alarms:
        alarmed[alarm.asset_id].append(alarm)
    window, period = (
        _middle(submission.exposure_from, submission.exposure_to),
        _middle(submission.period_from, submission.period_to),
    )
    length = (submission.period_to - submission.period_from).days
    devices = []
    weight_of_record: dict[str, float] = defaultdict(float)
    days_of_record: dict[str, int] = defaultdict(int)
    for asset in fleet.assets:
        days = device_days(asset, submission.exposure_from, submission.exposure_to)
        before = _relativity(asset, window, book)
        weight_of_record[asset.device_class] += before * days / DAYS_PER_YEAR
        days_of_record[asset.device_class] += days
        devices.append(
            Device(
                asset=asset,
                site=site_of[asset.asset_id],
                record_relativity=before,
                relativity=_relativity(asset, period, book),
                alarm=multiplier(alarmed[asset.asset_id], asset.device_class, length, book)
                if asset.asset_id in alarmed
                else 1.0,
                years_in_force=device_days(asset, submission.period_from, submission.period_to) / DAYS_PER_YEAR,
                age_years=max((period - asset.commissioned_on).days, 0) / DAYS_PER_YEAR,
            )
        )
    hazard = min((float(book.tariff["service_plans"][name]["hazard"]) for name in submission.plan), default=1.0)
    sites = {device.site for device in devices}
    window_years = (submission.exposure_to - submission.exposure_from).days / DAYS_PER_YEAR
    return Fitted(
        devices=tuple(devices),
        classes=_classes(fleet, devices, alone, known_at, weight_of_record, days_of_record, hazard, book),
        services=services,
        plan_hazard=hazard,
        n_sites=len(sites),
        site_years=window_years * len(sites - {UNKNOWN_SITE}),
        n_site_shocks=n_shocks,
        n_burst_incidents=len(counted) - len(alone),
        n_outside=len(known) - len(counted),
        n_later=len(incidents.incidents) - len(known),
    )


def _classes(
    fleet: Fleet,
    devices: Sequence[Device],
    counted: Sequence[Incident],
    known_at: datetime,
    weight_of_record: Mapping[str, float],
    days_of_record: Mapping[str, int],
    hazard: float,
    book: Book,
) -> dict[str, ClassModel]:
    cap_h = float(book.tariff["replacement_cap_h"]["value"])
    out = {}
    for name in fleet.classes():
        own = [item for item in counted if item.device_class == name]
        these = [device for device in devices if device.asset.device_class == name]
        times = incident.repair_times(own, known_at)
        prior = book.priors.repair_of(name)
        repair = severity.Updated(prior.law, prior.weight_tickets, times)
        out[name] = ClassModel(
            name=name,
            frequency=frequency.update(book.priors.frequency[name][0], len(own), weight_of_record[name]),
            repair=repair,
            capped=Capped(repair, cap_h),
            exposure_years=days_of_record[name] / DAYS_PER_YEAR,
            years_in_force=sum(device.years_in_force for device in these),
            weighted_years=hazard * sum(device.years_in_force * device.relativity * device.alarm for device in these),
            plain_years=sum(device.years_in_force for device in these),
            n_open=int(np.count_nonzero(~times.restored)),
        )
    return out
