"""A fleet and its record, fitted: the rate of every device and the repair times of its class."""

import itertools
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from itops import frequency, incident, severity
from itops.alarms import multiplier
from itops.book import Book
from itops.dependency import Service
from itops.fit_use import FitUse
from itops.fleet import DAYS_PER_YEAR, Asset, Fleet, device_days, site_days
from itops.frequency import Evidence
from itops.incident import Incident, IncidentTable
from itops.inputs import since
from itops.losses import Capped
from itops.service_map import services_on
from itops.submission import Submission
from itops.telemetry import ATTRIBUTES

if TYPE_CHECKING:  # regression and filters: a quote that names no fit does not load them
    from itops import fits
    from itops.fits import RepairUse

#: Devices without a site are taken to stand together: that is the careful reading.
UNKNOWN_SITE = "(unknown site)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One asset with what acts on it in the policy period."""

    asset: Asset
    site: str
    record_relativity: float  #: of its rate in the exposure window
    relativity: float  #: of its rate in the policy period, alarms and service plan left out; a fit's own included
    alarm: float  #: multiplier of its rate by its alarms, averaged over the period; 1 without
    years_in_force: float
    age_years: float  #: at the middle of the policy period
    alarm_of_fit: float | None = None  #: what its telemetry does by a fit with telemetry; None: the alarms' table acts


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
    fitted_rate: float  #: prior and fit, before the own record; the prior's own where there is no fit
    repair_without_fit: severity.Updated | None = None  #: what the book's prior would have given; None: no repair fit

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
    site_years: float  #: of record: a site counts while a device of it is in service
    n_site_shocks: int  #: found in the record as bursts
    n_burst_incidents: int
    n_outside: int
    n_later: int
    model_version: str
    fits: tuple["UsedFit", ...] = ()

    def rate_of(self, device: Device) -> float:
        """Incidents of a device in a year in force."""
        model = self.classes[device.asset.device_class]
        return model.frequency.rate_per_year * device.relativity * device.alarm * self.plan_hazard


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedFit:
    """A fit in this quote: what it was used for, and how far it found the devices."""

    use: FitUse
    device_class: str
    n_devices: int
    n_unknown: int  #: devices whose unit or site the fit does not have: they get its collective
    rate_per_year: float | None  #: fleet: of the class, before anything else
    cv: float | None  #: fleet: of that rate; repair: of a year's hours about the forecast


def age_factor(age_years: float, book: Book) -> float:
    """Relativity of a device's age."""
    age = book.tariff["relativity"]["age"]
    return float(age["factor"][bisect_right([float(edge) for edge in age["upto_years"]], age_years)])


def _middle(start: date, end: date) -> date:
    return start + (end - start) / 2


class _Relativities:
    """What age, redundancy and monitoring do to a device's rate on a day."""

    def __init__(self, at: date, book: Book) -> None:
        self._at, self._book, self._table = at, book, book.tariff["relativity"]
        self._of_age: dict[date, float] = {}

    def of(self, asset: Asset) -> float:
        born = asset.commissioned_on
        factor = self._of_age.get(born)
        if factor is None:
            age = max((self._at - born).days, 0) / DAYS_PER_YEAR
            factor = self._of_age[born] = age_factor(age, self._book)
        for value, name in ((asset.redundancy, "redundancy"), (asset.monitored, "monitored")):
            if value is not None:
                factor *= float(self._table[name][value])
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


def fit(submission: Submission, fleet: Fleet, incidents: IncidentTable, book: Book, model_version: str) -> Fitted:
    """The fleet's rates and repair times as of the submission's date. Raises BadSubmission, BadFit."""
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
    in_window, in_period = _Relativities(window, book), _Relativities(period, book)
    devices = []
    weight_of_record: dict[str, float] = defaultdict(float)
    days_of_record: dict[str, int] = defaultdict(int)
    for asset in fleet.assets:
        days = device_days(asset, submission.exposure_from, submission.exposure_to)
        before = in_window.of(asset)
        weight_of_record[asset.device_class] += before * days / DAYS_PER_YEAR
        days_of_record[asset.device_class] += days
        devices.append(
            Device(
                asset=asset,
                site=site_of[asset.asset_id],
                record_relativity=before,
                relativity=in_period.of(asset),
                alarm=multiplier(alarmed[asset.asset_id], asset.device_class, length, book)
                if asset.asset_id in alarmed
                else 1.0,
                years_in_force=device_days(asset, submission.period_from, submission.period_to) / DAYS_PER_YEAR,
                age_years=max((period - asset.commissioned_on).days, 0) / DAYS_PER_YEAR,
            )
        )
    hazard = min((float(book.tariff["service_plans"][name]["hazard"]) for name in submission.plan), default=1.0)
    evidence: dict[str, Evidence] = {}
    used: list[UsedFit] = []
    if submission.fits:
        devices, evidence, used = _with_rates(submission, devices, book)
        weight_of_record = defaultdict(float)
        for device in devices:
            days = device_days(device.asset, submission.exposure_from, submission.exposure_to)
            weight_of_record[device.asset.device_class] += device.record_relativity * days / DAYS_PER_YEAR
    sites = {device.site for device in devices}
    site_years = sum(site_days(fleet.assets, submission.exposure_from, submission.exposure_to).values()) / DAYS_PER_YEAR
    if not since(model_version, "itops-2026.5"):  # until then a site that came later counted for the whole window
        window_years = (submission.exposure_to - submission.exposure_from).days / DAYS_PER_YEAR
        site_years = window_years * len(sites - {UNKNOWN_SITE})
    return Fitted(
        devices=tuple(devices),
        classes=_classes(
            submission, fleet, devices, alone, known_at, weight_of_record, days_of_record, hazard, book, evidence, used
        ),
        services=services,
        plan_hazard=hazard,
        n_sites=len(sites),
        site_years=site_years,
        n_site_shocks=n_shocks,
        n_burst_incidents=len(counted) - len(alone),
        n_outside=len(known) - len(counted),
        n_later=len(incidents.incidents) - len(known),
        model_version=model_version,
        fits=tuple(used),
    )


def use_for(submission: Submission, kind: str, device_class: str) -> FitUse | None:
    """The fit of a kind for a class: its own, else the one for all classes."""
    mine = {use.device_class: use for use in submission.fits if use.kind == kind}
    return mine.get(device_class) or mine.get(None)


def _with_rates(
    submission: Submission, devices: Sequence[Device], book: Book
) -> tuple[list[Device], dict[str, Evidence], list[UsedFit]]:
    """Devices with their fit's relativity to the class, and what the fit says of each class's mean rate.

    A fit with telemetry knows age and SMART values itself: the tariff's age factor and the alarms' multiplier of those
    signals are left out for its devices. The spread of rates is taken as common to a class, the careful reading.
    """
    from itops import fits

    values: dict[str, dict[str, float]] = defaultdict(dict)
    for alarm in submission.alarms:
        values[alarm.asset_id][alarm.signal] = alarm.value
    period = _middle(submission.period_from, submission.period_to)
    window = _middle(submission.exposure_from, submission.exposure_to)
    length = (submission.period_to - submission.period_from).days
    out = {device.asset.asset_id: device for device in devices}
    evidence, used = {}, []
    for name in sorted({device.asset.device_class for device in devices}):
        use = use_for(submission, "fleet", name)
        mine = [device for device in devices if device.asset.device_class == name]
        if use is None or not any(device.years_in_force > 0 for device in mine):
            continue
        span = submission.period_from, submission.period_to
        rates = fits.rates_of(use, [d.asset for d in mine], *span, {})
        if use.shape == "spells":
            mine = [_without_age(device, submission, window, period, length, book) for device in mine]
            mine, rates = _with_telemetry(use, mine, rates, span, values)
        years = np.array([device.years_in_force * device.relativity for device in mine])
        mean = float(np.sum(years * rates.per_year) / np.sum(years))
        cv2 = float(np.sum(years * rates.per_year * rates.cv2) / (np.sum(years) * mean))
        for device, rate in zip(mine, rates.per_year, strict=True):
            own = float(rate) / mean
            out[device.asset.asset_id] = replace(
                device, relativity=device.relativity * own, record_relativity=device.record_relativity * own
            )
        evidence[name] = Evidence(rate_per_year=mean, cv2=cv2)
        used.append(
            UsedFit(
                use=use, device_class=name, n_devices=len(mine), n_unknown=rates.n_unknown, rate_per_year=mean,
                cv=cv2**0.5,
            )
        )  # fmt: skip
    return [out[device.asset.asset_id] for device in devices], evidence, used


def _with_telemetry(
    use: FitUse,
    devices: Sequence[Device],
    plain: "fits.Rates",
    span: tuple[date, date],
    values: Mapping[str, Mapping[str, float]],
) -> "tuple[list[Device], fits.Rates]":
    """Devices whose telemetry is known: the rate with every reported value 0, and what its values make of it."""
    from itops import fits

    rate = plain.per_year.copy()
    out = list(devices)
    told = [i for i, d in enumerate(devices) if set(values.get(d.asset.asset_id, ())) & set(ATTRIBUTES)]
    if told:
        assets = [devices[i].asset for i in told]
        well = {a.asset_id: dict.fromkeys(values[a.asset_id], 0.0) for a in assets}
        healthy, ill = (fits.rates_of(use, assets, *span, v).per_year for v in (well, values))
        for i, low, high in zip(told, healthy, ill, strict=True):
            rate[i] = low
            out[i] = replace(devices[i], alarm=devices[i].alarm * float(high / low), alarm_of_fit=float(high / low))
    return out, replace(plain, per_year=rate)


def _without_age(device: Device, submission: Submission, window: date, period: date, length: int, book: Book) -> Device:
    """The device with neither the tariff's age factor nor the multiplier of its SMART alarms."""
    born = device.asset.commissioned_on
    before, ahead = (age_factor(max((at - born).days, 0) / DAYS_PER_YEAR, book) for at in (window, period))
    others = [
        alarm for alarm in submission.alarms
        if alarm.asset_id == device.asset.asset_id and alarm.signal not in ATTRIBUTES
    ]  # fmt: skip
    return replace(
        device,
        record_relativity=device.record_relativity / before,
        relativity=device.relativity / ahead,
        alarm=multiplier(others, device.asset.device_class, length, book) if others else 1.0,
    )


def _classes(
    submission: Submission,
    fleet: Fleet,
    devices: Sequence[Device],
    counted: Sequence[Incident],
    known_at: datetime,
    weight_of_record: Mapping[str, float],
    days_of_record: Mapping[str, int],
    hazard: float,
    book: Book,
    evidence: Mapping[str, Evidence],
    used: list[UsedFit],
) -> dict[str, ClassModel]:
    cap_h = float(book.tariff["replacement_cap_h"]["value"])
    out = {}
    read: dict[str, RepairUse] = {}
    by_class: dict[str, list[Device]] = defaultdict(list)
    for device in devices:
        by_class[device.asset.device_class].append(device)
    for name in fleet.classes():
        own = [item for item in counted if item.device_class == name]
        these = by_class[name]
        times = incident.repair_times(own, known_at)
        prior = book.priors.repair_of(name)
        repair = severity.Updated(prior.law, prior.weight_tickets, times)
        without = None
        use = use_for(submission, "repair", name)
        if use is not None and these:
            from itops import fits

            without = repair
            if use.sha256 not in read:
                read[use.sha256] = fits.repair_use(use, prior.law)
            told = read[use.sha256]
            law, unknown = told.law_for(Counter(str(getattr(device.asset, use.by) or "") for device in these))
            none = incident.RepairTimes(hours=np.zeros(0), restored=np.zeros(0, dtype=np.bool_))
            repair = severity.Updated(law, told.fit.k, none if use.same_record else times)
            used.append(
                UsedFit(
                    use=use, device_class=name, n_devices=len(these), n_unknown=unknown, rate_per_year=None,
                    cv=told.fit.year_spread,
                )
            )  # fmt: skip
        rated = use_for(submission, "fleet", name)
        own_n, own_w = len(own), weight_of_record[name]
        if rated is not None and rated.same_record and name in evidence:
            own_n, own_w = 0, 0.0  # the fit has these incidents already
        first = book.priors.frequency[name][0]
        before = frequency.update(first, 0, 0.0, evidence.get(name))
        found = replace(
            frequency.update(first, own_n, own_w, evidence.get(name)),
            n_incidents=len(own), exposure_years=weight_of_record[name],
        )  # fmt: skip
        out[name] = ClassModel(
            name=name,
            frequency=found,
            fitted_rate=before.rate_per_year,
            repair_without_fit=without,
            repair=repair,
            capped=Capped(repair, cap_h),
            exposure_years=days_of_record[name] / DAYS_PER_YEAR,
            years_in_force=sum(device.years_in_force for device in these),
            weighted_years=hazard * sum(device.years_in_force * device.relativity * device.alarm for device in these),
            plain_years=sum(device.years_in_force for device in these),
            n_open=int(np.count_nonzero(~times.restored)),
        )
    return out
