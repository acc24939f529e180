"""The events a policy pays for: failures of devices and services, accidents, and shocks that hit many at once."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import numpy as np

from geo.shakemap import damage_ratio
from geo.vulnerability import emanuel
from itops import frequency
from itops.book import Book
from itops.dependency import Outage, Service, Unit, outage
from itops.fitted import UNKNOWN_SITE, ClassModel, Device, Fitted
from itops.losses import DamageShare, LogNormal, sized
from itops.payment import PaymentSchedule
from itops.policy import (
    BadTerms,
    BusinessInterruption,
    Cover,
    DataRecovery,
    InformationSecurity,
    PhysicalDamage,
    SystemAvailability,
)
from itops.severity import FloatArray, RepairLaw
from itops.submission import Submission
from itops.year import EventKind, event

Pay = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """What a scenario changes: all 1 is the model as it is."""

    frequency: float = 1.0  #: of device failures
    repair_h: float = 1.0  #: factor on every outage's length
    shocks: float = 1.0
    shock: tuple[tuple[str, float], ...] = ()  #: factor on one shock's rate
    amounts: float = 1.0  #: inflation of losses in money
    firmware_hit: float | None = None  #: share of a model's devices that a batch hits


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One band of a site's natural hazard."""

    peril: str
    site: str
    rate_per_year: float
    intensity: float
    damage: float  #: share of value lost
    outage_h: float  #: median


class Stretched:
    """A law of hours, every outage longer by a factor."""

    def __init__(self, law: RepairLaw, factor: float) -> None:
        self._law, self._factor = law, factor

    def survival(self, hours: FloatArray) -> FloatArray:
        return self._law.survival(np.asarray(hours) / self._factor)

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        return self._factor * self._law.limited_mean(np.asarray(hours) / self._factor)


def _nothing(x: FloatArray) -> FloatArray:
    return np.zeros_like(x)


class Builder:
    """Makes the event kinds of one submission, fitted fleet and book."""

    def __init__(self, submission: Submission, fitted: Fitted, book: Book, climate: Climate | None = None) -> None:
        self.submission, self.fitted, self.book = submission, fitted, book
        self.climate = climate or Climate()
        self.covers: tuple[Cover, ...] = submission.covers
        self.years = (submission.period_to - submission.period_from).days / 365.25
        self._at = {cover.name: index for index, cover in enumerate(self.covers)}
        self._interruption = next((c for c in self.covers if isinstance(c, BusinessInterruption)), None)
        self._availability = next((c for c in self.covers if isinstance(c, SystemAvailability)), None)
        self.devices = [device for device in fitted.devices if device.years_in_force > 0]
        self._by_id = {device.asset.asset_id: device for device in self.devices}
        self.cap_h = float(book.shocks["cap_h"])

    # ------------------------------------------------------------ helpers
    def _mixing(self, model: ClassModel) -> float:
        return frequency.mixing_cv2(model.frequency.parameter_cv2, self.book.priors.overdispersion_cv)

    def _outage(
        self, name: str, law: RepairLaw, per_hour: float | None, *, count: float, cause: str = "attritional",
        mixing_cv2: float = 0.0, device_class: str = "", compensated: bool = True, damage: float = 0.0,
    ) -> EventKind | None:  # fmt: skip
        """Outages whose hours follow `law`: lost revenue, compensation, and a fixed damage."""
        schedules: dict[int, PaymentSchedule] = {}
        own = None if cause == "attritional" else cause
        if self._interruption is not None and per_hour:
            schedules[self._at["business_interruption"]] = self._interruption.outage(
                per_hour * self.climate.amounts, own
            )
        if self._availability is not None and compensated:
            schedules[self._at["system_availability"]] = self._availability.outage(own)
        pay: list[Pay] = [schedules[j].amount if j in schedules else _nothing for j in range(len(self.covers))]
        at = self._at.get("physical_damage")
        if damage > 0 and at is not None:
            cover = self.covers[at]
            assert isinstance(cover, PhysicalDamage)
            paid = float(
                cover.terms.paid(
                    np.array([damage * self.climate.amounts]), own, cover.deductible_of(damage * self.climate.amounts)
                )[0]
            )
            pay[at] = lambda hours: np.full_like(hours, paid)
        elif not schedules:
            return None
        knots = [piece.start_h for schedule in schedules.values() for piece in schedule.pieces]
        largest = max([*knots, 1.0])
        if self.climate.repair_h != 1.0:
            law = Stretched(law, self.climate.repair_h)
        return event(
            name, law, knots, largest, pay, cause=cause, count=count, mixing_cv2=mixing_cv2, device_class=device_class
        )

    # ------------------------------------------------------------ single failures
    def failures(self) -> list[EventKind]:
        """Outages of devices, and of services where there is a map of them."""
        out = []
        mapped = bool(self.fitted.services)
        for name, model in self.fitted.classes.items():
            per_hour = None
            if self._interruption is not None and not mapped:
                per_hour = self._interruption.per_hour(name)
            out.append(
                self._outage(
                    f"outage of a {name}", model.repair, per_hour,
                    count=model.expected_incidents * self.climate.frequency,
                    mixing_cv2=self._mixing(model), device_class=name,
                )
            )  # fmt: skip
        if self._interruption is not None:
            for service, law in self.service_outages():
                classes = [
                    self.fitted.classes[self._by_id[one].asset.device_class]
                    for one in service.assets
                    if one in self._by_id
                ]
                if law is None:
                    continue
                mixing = max(self._mixing(model) for model in classes)
                out.append(
                    self._outage(
                        f"outage of {service.name}", law.law, float(service.revenue_per_hour),
                        count=law.rate_per_year * self.years, mixing_cv2=mixing, compensated=False,
                        device_class=Counter(model.name for model in classes).most_common(1)[0][0],
                    )
                )  # fmt: skip
        return [kind for kind in out if kind is not None]

    def service_outages(self) -> list[tuple[Service, Outage | None]]:
        """Each service with its outages; None where none of its devices is in force."""
        out: list[tuple[Service, Outage | None]] = []
        for service in self.fitted.services:
            units = [
                Unit(
                    rate_per_year=self.fitted.rate_of(self._by_id[one]) * self.climate.frequency,
                    repair=self.fitted.classes[self._by_id[one].asset.device_class].capped,
                )
                for one in service.assets
                if one in self._by_id
            ]
            # A device that is not in force cannot carry the service: fewer units, the same number needed.
            out.append((service, outage(units, min(service.needed, len(units))) if units else None))
        return out

    # ------------------------------------------------------------ money losses
    def accidents(self) -> list[EventKind]:
        """Accidental damage by device class."""
        at = self._at.get("physical_damage")
        if at is None:
            return []
        cover = self.covers[at]
        assert isinstance(cover, PhysicalDamage)
        table = self.book.tariff["damage"]
        law = DamageShare(a=float(table["beta_a"]), b=float(table["beta_b"]), total=float(table["total"]))
        out = []
        for name in self.fitted.classes:
            these = [device for device in self.devices if device.asset.device_class == name]
            if not these:
                continue
            value = np.array([self.insured_value(cover, device) for device in these]) * self.climate.amounts
            years = np.array([device.years_in_force for device in these])
            bucket_value, bucket_weight = _buckets(value, years)
            probabilities, payments = [], []
            for v, w in zip(bucket_value, bucket_weight, strict=True):
                deductible = cover.deductible_of(v)
                kind = event(
                    name, sized(law, np.array([v]), np.array([1.0])),
                    [x for x in cover.terms.knots(deductible) if x < v], v,
                    [partial(cover.terms.paid, deductible=deductible)], count=1.0, smallest=v * 1e-4,
                )  # fmt: skip
                probabilities.append(kind.probability * w)
                payments.append(kind.payment[0])
            payment = np.zeros((len(self.covers), sum(len(p) for p in payments)))
            payment[at] = np.concatenate(payments)
            out.append(
                EventKind(
                    name=f"accident to a {name}", cause="attritional",
                    expected_count=float(table["rate_per_year"][name]) * float(np.sum(years)),
                    mixing_cv2=float(table["mixing_cv"]) ** 2, probability=np.concatenate(probabilities),
                    payment=payment, in_regime=False, device_class=name,
                )
            )  # fmt: skip
        return out

    def insured_value(self, cover: PhysicalDamage, device: Device) -> float:
        """The value a claim for a device is settled on. Raises BadTerms where it is unknown."""
        value = device.asset.value
        if value is None or value <= 0:
            raise BadTerms(
                f"fleet: asset {device.asset.asset_id!r}, value: is blank; physical damage needs every device's "
                "replacement cost, and blank is unknown, not zero"
            )
        return cover.insured_value(float(value), device.age_years)

    def recoveries(self) -> list[EventKind]:
        """Data lost with a storage failure, by device class."""
        at = self._at.get("data_recovery")
        if at is None:
            return []
        cover = self.covers[at]
        assert isinstance(cover, DataRecovery)
        table = self.book.tariff["recovery"]
        cap = cover.cap()
        law = LogNormal(
            median=cover.cost_median * self.climate.amounts,
            sigma=cover.cost_sigma,
            fixed=cover.fixed if cap is None else min(cover.fixed, cap),
            cap=np.inf if cap is None else cap,
        )
        knots = [x for x in cover.terms.knots() if cap is None or x < cap]
        largest = max([*knots, law.fixed, *([] if cap is None else [cap])])
        pay: list[Pay] = [_nothing] * len(self.covers)
        pay[at] = cover.terms.paid
        out = []
        for name, model in self.fitted.classes.items():
            share = float(table["failure_share"].get(name, 0.0)) * (1.0 - float(cover.restorable))
            count = model.expected_incidents * share * self.climate.frequency
            if count <= 0:
                continue
            out.append(
                event(
                    f"data lost with a {name}", law, [*knots, law.fixed], largest, pay, count=count,
                    mixing_cv2=self._mixing(model), device_class=name, smallest=max(law.fixed, 1.0),
                )
            )  # fmt: skip
        return out

    def breaches(self, median_usd: float | None = None, sigma: float | None = None) -> list[EventKind]:
        """Significant security events; another edition's severity where it is given."""
        at = self._at.get("information_security")
        if at is None:
            return []
        cover = self.covers[at]
        assert isinstance(cover, InformationSecurity)
        rate, law = security(cover, self.submission, self.book, median_usd, sigma, self.climate.amounts)
        pay: list[Pay] = [_nothing] * len(self.covers)
        pay[at] = cover.terms.paid
        knots = list(cover.terms.knots())
        return [
            event(
                "security event", law, knots, knots[-1], pay, count=rate * self.years, in_regime=False,
                mixing_cv2=float(self.book.tariff["security"]["mixing_cv"]) ** 2, cause="security", smallest=100.0,
            )
        ]  # fmt: skip

    # ------------------------------------------------------------ shocks
    def per_hour_at(self, ids: "set[str] | None", by_class: Mapping[str, int], hit: float) -> float:
        """Revenue an hour that stands still when a share `hit` of these devices is down at once."""
        if self._interruption is None:
            return 0.0
        if not self.fitted.services:
            revenue = float(self._interruption.revenue_per_hour)
            share = sum(n * self._interruption.per_hour(name) for name, n in by_class.items())
            return min(share * hit, revenue)
        lost = 0.0
        for service in self.fitted.services:
            held = [one for one in service.assets if one in self._by_id]
            inside = len(held) if ids is None else sum(one in ids for one in held)
            if inside == 0:
                continue
            allowed = len(held) - min(service.needed, len(held))
            lost += float(service.revenue_per_hour) * _at_least(inside, hit, allowed + 1)
        return lost

    def shocks(self) -> list[EventKind]:
        """Events that hit many devices at once, each kind a compound Poisson sum over its sites, models or regions."""
        groups: dict[tuple[str, float, float, float], float] = defaultdict(float)
        for name, entry in self.book.shocks["shocks"].items():
            rate = self.shock_rate(name)
            factor = dict(self.climate.shock).get(name, 1.0) * self.climate.shocks
            hits = entry["hit"]
            if name == "firmware" and self.climate.firmware_hit is not None:
                hits = [[self.climate.firmware_hit, 1.0]]
            for members in self.scopes(entry["scope"]).values():
                ids = {device.asset.asset_id for device in members}
                by_class = Counter(device.asset.device_class for device in members)
                for hit, probability in hits:
                    per_hour = self.per_hour_at(ids, by_class, float(hit))
                    key = (name, round(per_hour, 6), float(entry["median_h"]), float(entry["sigma"]))
                    groups[key] += rate * factor * float(probability)
        out = [
            self._outage(
                f"{name} shock", LogNormal(median=median, sigma=sigma), per_hour, count=rate * self.years, cause=name
            )
            for (name, per_hour, median, sigma), rate in sorted(groups.items())
        ]
        return [kind for kind in out if kind is not None]

    def shock_rate(self, name: str) -> float:
        """The rate of a shock for one member of its scope; the record's bursts update that of the site."""
        entry = self.book.shocks["shocks"][name]
        rate, weight = float(entry["rate_per_year"]), float(entry["weight_years"])
        if name != "site":
            return rate
        return (rate * weight + self.fitted.n_site_shocks) / (weight + self.fitted.site_years)

    def scopes(self, scope: str) -> dict[str, list[Device]]:
        """The devices that one shock of this scope can hit together."""
        out: dict[str, list[Device]] = defaultdict(list)
        for device in self.devices:
            if scope == "site":
                out[device.site].append(device)
            elif scope == "model" and device.asset.model:
                out[f"{device.asset.manufacturer or ''} {device.asset.model}".strip()].append(device)
            elif scope == "region":
                site = self.submission.site(device.asset.site)
                if site is not None and site.region:
                    out[site.region].append(device)
            elif scope == "fleet":
                out["fleet"].append(device)
        if scope == "model":
            return {name: members for name, members in sorted(out.items()) if len(members) > 1}
        return dict(sorted(out.items()))

    def hazards(self) -> list[Hazard]:
        """The bands of every site's natural hazard."""
        out = []
        table = self.book.shocks["hazard"]
        for site in self.submission.sites:
            for peril, levels in sorted(site.return_levels.items()):
                for k, (period, intensity) in enumerate(levels):
                    # Between two return periods the lower intensity stands; beyond the last one it stays: a floor.
                    beyond = 1.0 / levels[k + 1][0] if k + 1 < len(levels) else 0.0
                    damage = _damage(peril, intensity, table[peril])
                    if damage <= 0:
                        continue
                    hours = max(damage * float(table[peril]["outage_h_at_full_damage"]), float(table["least_outage_h"]))
                    out.append(
                        Hazard(
                            peril=peril, site=site.site, rate_per_year=1.0 / period - beyond, intensity=intensity,
                            damage=damage, outage_h=hours,
                        )
                    )  # fmt: skip
        return out

    def nature(self) -> list[EventKind]:
        """Floods, storms and earthquakes at the sites: damage and outage together."""
        sites = self.scopes("site")
        sigma = float(self.book.shocks["hazard"]["sigma"])
        at = self._at.get("physical_damage")
        out = []
        for hazard in self.hazards():
            members = sites.get(hazard.site, [])
            if not members:
                continue
            value = 0.0
            if at is not None:
                cover = self.covers[at]
                assert isinstance(cover, PhysicalDamage)
                value = sum(self.insured_value(cover, device) for device in members)
            ids = {device.asset.asset_id for device in members}
            by_class = Counter(device.asset.device_class for device in members)
            out.append(
                self._outage(
                    f"{hazard.peril} at {hazard.site}", LogNormal(median=hazard.outage_h, sigma=sigma),
                    self.per_hour_at(ids, by_class, 1.0), cause=hazard.peril, damage=hazard.damage * value,
                    count=hazard.rate_per_year * self.years * self.climate.shocks,
                )
            )  # fmt: skip
        return [kind for kind in out if kind is not None]

    def all(self) -> list[EventKind]:
        """Every kind of event that any cover of the submission pays for."""
        return [
            *self.failures(),
            *self.accidents(),
            *self.recoveries(),
            *self.breaches(),
            *self.shocks(),
            *self.nature(),
        ]

    def site_loss(self, members: Sequence[Device], hours: float, *, damage: float = 0.0) -> FloatArray:
        """(n_covers,) what one outage of all these devices for so many hours pays."""
        ids = {device.asset.asset_id for device in members}
        by_class = Counter(device.asset.device_class for device in members)
        value = 0.0
        at = self._at.get("physical_damage")
        if damage > 0 and at is not None:
            cover = self.covers[at]
            assert isinstance(cover, PhysicalDamage)
            value = damage * sum(self.insured_value(cover, device) for device in members)
        kind = self._outage(
            "scenario", LogNormal(median=hours, sigma=1e-6), self.per_hour_at(ids, by_class, 1.0), count=1.0,
            cause="site", damage=value,
        )  # fmt: skip
        return np.zeros(len(self.covers)) if kind is None else kind.mean


def security(
    cover: InformationSecurity, submission: Submission, book: Book, median_usd: float | None, sigma: float | None,
    amounts: float = 1.0,
) -> tuple[float, LogNormal]:  # fmt: skip
    """The yearly rate of a significant security event and the law of its loss, from published figures alone."""
    table = book.tariff["security"]
    rate_of_exchange = Decimal(1) if submission.currency == "USD" else submission.usd_rate
    assert rate_of_exchange is not None  # the submission was refused without it
    revenue_usd = float(cover.annual_revenue / rate_of_exchange)
    bands = [float(edge) for edge in table["frequency"]["upto_usd"]]
    rate = float(table["frequency"]["rate"][sum(revenue_usd >= edge for edge in bands)])
    size = (revenue_usd / float(table["revenue_reference_usd"])) ** float(table["revenue_exponent"])
    median = float(table["median_usd"]) * size if median_usd is None else median_usd
    law = LogNormal(
        median=median * float(rate_of_exchange) * amounts, sigma=float(table["sigma"]) if sigma is None else sigma
    )
    return rate * posture_factor(cover, book), law


def posture_factor(cover: InformationSecurity, book: Book) -> float:
    """What the answers on posture do to the frequency, within 0.7 to 1.5; no answer counts as no."""
    table = book.tariff["security"]["posture"]
    questions = ("mfa", "edr", "backups_offline", "patch_sla")
    factor = 1.0
    for name in questions:
        if cover.posture.get(name, False):
            factor *= float(table[name])
    if not any(cover.posture.get(name, False) for name in questions):
        factor = float(table["none"])
    return min(max(factor, float(table["least"])), float(table["most"]))


def _damage(peril: str, intensity: float, table: Mapping[str, object]) -> float:
    if peril == "flood":
        at, share = [[float(x) for x in table[name]] for name in ("at", "share")]  # type: ignore[attr-defined]
        return float(np.interp(intensity, at, share))
    if peril == "wind":
        return float(emanuel(np.array([intensity]), float(str(table["v_half_m_s"])))[0])
    if intensity <= 0:
        return 0.0
    kind, code = str(table["kind_of_building"]), str(table["code"])
    return float(damage_ratio(np.array([intensity]), np.zeros(1), kind, code)[0])


def _buckets(value: FloatArray, weight: FloatArray, most: int = 24) -> tuple[FloatArray, FloatArray]:
    """Values in at most so many buckets, each its weighted mean; weights sum to 1."""
    distinct, at = np.unique(value, return_inverse=True)
    total = np.bincount(at, weight)
    if len(distinct) > most:
        edges = np.minimum((np.cumsum(total) / np.sum(total) * most).astype(int), most - 1)
        mass = np.bincount(edges, total, most)
        mean = np.bincount(edges, total * distinct, most)
        used = mass > 0
        distinct, total = mean[used] / mass[used], mass[used]
    return distinct, total / np.sum(total)


def _at_least(n: int, p: float, k: int) -> float:
    """P(Binomial(n, p) >= k)."""
    from scipy.stats import binom

    if p >= 1.0:
        return float(n >= k)
    return float(binom.sf(k - 1, n, p))


__all__ = ["UNKNOWN_SITE", "Builder", "Climate", "Hazard", "posture_factor", "security"]
