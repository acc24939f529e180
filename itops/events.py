"""The events a policy pays for: failures of devices and services, accidents, and shocks that hit many at once."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cached_property, partial

import numpy as np

from geo.shakemap import damage_ratio
from geo.vulnerability import emanuel
from itops import frequency
from itops.book import Book
from itops.dependency import Outage, Service, Unit, outage
from itops.fitted import UNKNOWN_SITE, ClassModel, Device, Fitted
from itops.inputs import UNNAMED_MODEL
from itops.losses import DamageShare, LogNormal, sized
from itops.payment import PaymentSchedule
from itops.policy import (
    BusinessInterruption,
    Cover,
    DataRecovery,
    InformationSecurity,
    PhysicalDamage,
    SystemAvailability,
)
from itops.population import Population, Together
from itops.service_hours import InService, ServiceHours
from itops.severity import FloatArray, RepairLaw
from itops.shock import count_moments
from itops.struck import KIND, Part, lost_per_hour
from itops.submission import Submission
from itops.year import EventKind, cells, event

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

    def __init__(
        self,
        submission: Submission,
        fitted: Fitted,
        book: Book,
        climate: Climate | None = None,
        like: "Builder | None" = None,
    ) -> None:
        """`like` builds other terms on the same devices: what does not hang on terms is taken from it."""
        self.submission, self.fitted, self.book = submission, fitted, book
        self.climate = climate or Climate()
        self._like = like
        self.service_hours: ServiceHours | None = _service_hours(submission) if like is None else like.service_hours
        self.covers: tuple[Cover, ...] = tuple(self._in_service(cover) for cover in submission.covers)
        self.years = (submission.period_to - submission.period_from).days / 365.25
        self._at = {cover.name: index for index, cover in enumerate(self.covers)}
        self._interruption = next((c for c in self.covers if isinstance(c, BusinessInterruption)), None)
        self._availability = next((c for c in self.covers if isinstance(c, SystemAvailability)), None)
        self.devices = [device for device in fitted.devices if device.years_in_force > 0]
        self._by_id = {device.asset.asset_id: device for device in self.devices}
        self.population: Population = (
            Population(submission, self.devices, fitted.services) if like is None else like.population
        )
        self.cap_h = float(book.shocks["cap_h"])

    # ------------------------------------------------------------ helpers
    def _in_service(self, cover: Cover) -> Cover:
        """A cover whose months are those of the service calendar, where it counts by one."""
        if self.service_hours is None or not isinstance(cover, SystemAvailability):
            return cover
        return replace(cover, month_h=cover.month_h * self.service_hours.share)

    def seen_by(self, cover: Cover, law: RepairLaw) -> RepairLaw:
        """The law of the hours that a cover counts, from the law of elapsed hours."""
        if self.service_hours is None or not isinstance(cover, SystemAvailability):
            return law
        return InService(law, self.service_hours)

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
        if self.climate.repair_h != 1.0:
            law = Stretched(law, self.climate.repair_h)
        if self.service_hours is not None and self._at.get("system_availability") in schedules:
            if len(schedules) > 1:
                return self._mixed_hours(name, law, pay, schedules, cause, count, mixing_cv2, device_class)
            law = InService(law, self.service_hours)
        knots = [piece.start_h for schedule in schedules.values() for piece in schedule.pieces]
        largest = max([*knots, 1.0])
        return event(
            name, law, knots, largest, pay, cause=cause, count=count, mixing_cv2=mixing_cv2, device_class=device_class
        )

    def _mixed_hours(
        self, name: str, law: RepairLaw, pay: Sequence[Pay], schedules: Mapping[int, PaymentSchedule], cause: str,
        count: float, mixing_cv2: float, device_class: str,
    ) -> EventKind:  # fmt: skip
        """Outages under a cover of elapsed hours and one of service hours: each length with each part of what it costs
        in service hours, so that what two covers pay for the same outage stays together."""
        hours, at = self.service_hours, self._at["system_availability"]
        assert hours is not None
        ends = [piece.start_h for j, schedule in schedules.items() if j != at for piece in schedule.pieces]
        counted_to = max(piece.start_h for piece in schedules[at].pieces)
        largest = max([*ends, hours.longest(counted_to), 1.0])
        probability, elapsed = cells(law, [*ends, *hours.lengths], largest, 0.05)
        lost = hours.lost(elapsed)
        n = len(lost)
        payment = np.array([np.tile(f(elapsed), n) for f in pay])
        payment[at] = pay[at](lost.ravel())
        return EventKind(
            name=name, cause=cause, expected_count=count, mixing_cv2=mixing_cv2,
            probability=np.tile(probability / n, n), payment=payment, device_class=device_class,
        )  # fmt: skip

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
            for service, law in self.service_outages:
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

    @cached_property
    def service_outages(self) -> list[tuple[Service, Outage | None]]:
        """Each service with its outages; None where none of its devices is in force."""
        like = self._like
        if like is not None and like.fitted is self.fitted and like.climate.frequency == self.climate.frequency:
            return like.service_outages
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
            insured, years = self.population.values_of_class(cover, name)
            if not len(years):
                continue
            value = insured * self.climate.amounts
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
    def per_hour_at(self, group: Together, hit: float) -> float:
        """Mean revenue an hour that stands still when a share `hit` of these devices is down at once."""
        if self._interruption is None:
            return 0.0
        if not self.fitted.services:
            revenue = float(self._interruption.revenue_per_hour)
            share = sum(n * self._interruption.per_hour(name) for name, n in group.by_class.items())
            return min(share * hit, revenue)
        return sum(part.per_hour * part.hit_probability for part in self._services_hit(group, hit))

    def _services_hit(self, group: Together, hit: float) -> list[Part]:
        """Each service that stands on these devices: its revenue, and the chance that the hit takes it down."""
        out = []
        for service in self.fitted.services:
            inside, held = group.inside.get(service.name, (0, 0))
            if inside:
                allowed = held - min(service.needed, held)
                down = _at_least(inside, hit, allowed + 1)
                out.append(Part(n=1, per_hour=float(service.revenue_per_hour), hit_probability=down))
        return out

    def lost(self, name: str, group: Together, hit: float) -> list[tuple[float, float, bool]]:
        """(revenue an hour, probability, whether anything is down) of one shock that hits each device by chance.

        With the first models the mean stood for the whole law; now the kernel's law does, so that limits and
        deductibles act on what a shock really takes down.
        """
        if self.fitted.model_version == UNNAMED_MODEL or hit >= 1.0 or self._interruption is None:
            return [(self.per_hour_at(group, hit), 1.0, True)]
        if self.fitted.services:
            parts = self._services_hit(group, hit)
            most = np.inf
        else:
            revenue = float(self._interruption.revenue_per_hour)
            parts = [
                Part(n=n, per_hour=self._interruption.per_hour(kind), hit_probability=hit)
                for kind, n in sorted(group.by_class.items())
            ]
            most = revenue
        none = (1.0 - hit) ** len(group)  # no device is hit: no outage at all
        out = []
        for per_hour, probability in lost_per_hour(name, tuple(parts), most):
            if per_hour > 0:
                out.append((per_hour, probability, True))
                continue
            out.append((0.0, max(probability - none, 0.0), True))
            out.append((0.0, min(probability, none), False))
        return [item for item in out if item[1] > 0]

    def shocks(self) -> list[EventKind]:
        """Events that hit many devices at once, each kind a compound Poisson sum over its sites, models or regions."""
        groups: dict[tuple[str, float, float, float], float] = defaultdict(float)
        for name, entry in self.book.shocks["shocks"].items():
            rate = self.shock_rate(name)
            factor = dict(self.climate.shock).get(name, 1.0) * self.climate.shocks
            hits = entry["hit"]
            if name == "firmware" and self.climate.firmware_hit is not None:
                hits = [[self.climate.firmware_hit, 1.0]]
            for group in self.scopes(entry["scope"]).values():
                for hit, probability in hits:
                    for per_hour, part, down in self.lost(name, group, float(hit)):
                        if not down:
                            continue
                        key = (name, round(per_hour, 6), float(entry["median_h"]), float(entry["sigma"]))
                        groups[key] += rate * factor * float(probability) * part
        out = [
            self._outage(
                f"{name} shock", LogNormal(median=median, sigma=sigma), per_hour, count=rate * self.years, cause=name
            )
            for (name, per_hour, median, sigma), rate in sorted(groups.items())
        ]
        return [kind for kind in out if kind is not None]

    def layers(self) -> list[dict[str, float | str]]:
        """Each shock: its rate, and the mean and spread of how many devices one event of it takes down."""
        out: list[dict[str, float | str]] = []
        for name, entry in self.book.shocks["shocks"].items():
            groups = self.scopes(entry["scope"])
            if not groups:
                continue
            shocks = [
                (self.shock_rate(name) * float(p), np.full(len(group), float(hit)))
                for group in groups.values()
                for hit, p in entry["hit"]
            ]
            mean, variance = count_moments(np.zeros(1), shocks)
            out.append(
                {
                    "shock": name, "kind": str(KIND[name]), "scopes": len(groups),
                    "events_per_year": sum(rate for rate, _ in shocks), "failures_per_year": mean,
                    "variance_per_year": variance,
                }
            )  # fmt: skip
        return out

    def shock_rate(self, name: str) -> float:
        """The rate of a shock for one member of its scope; the record's bursts update that of the site."""
        entry = self.book.shocks["shocks"][name]
        rate, weight = float(entry["rate_per_year"]), float(entry["weight_years"])
        if name != "site":
            return rate
        return (rate * weight + self.fitted.n_site_shocks) / (weight + self.fitted.site_years)

    def scopes(self, scope: str) -> dict[str, Together]:
        """The devices that one shock of this scope can hit together."""
        return self.population.scopes(scope)

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
            group = sites.get(hazard.site)
            if group is None:
                continue
            value = 0.0
            if at is not None:
                cover = self.covers[at]
                assert isinstance(cover, PhysicalDamage)
                value = self.population.value_at(cover, hazard.site)
            out.append(
                self._outage(
                    f"{hazard.peril} at {hazard.site}", LogNormal(median=hazard.outage_h, sigma=sigma),
                    self.per_hour_at(group, 1.0), cause=hazard.peril, damage=hazard.damage * value,
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

    def site_loss(self, members: "Together | Sequence[Device]", hours: float, *, damage: float = 0.0) -> FloatArray:
        """(n_covers,) what one outage of all these devices for so many hours pays."""
        group = members if isinstance(members, Together) else self.population.together(members)
        value = 0.0
        at = self._at.get("physical_damage")
        if damage > 0 and at is not None:
            cover = self.covers[at]
            assert isinstance(cover, PhysicalDamage)
            values = self.population.values(cover)
            value = damage * sum(values[device.asset.asset_id] for device in group.members)
        kind = self._outage(
            "scenario", LogNormal(median=hours, sigma=1e-6), self.per_hour_at(group, 1.0), count=1.0,
            cause="site", damage=value,
        )  # fmt: skip
        return np.zeros(len(self.covers)) if kind is None else kind.mean


def _service_hours(submission: Submission) -> ServiceHours | None:
    """What outages in the policy period cost in service hours; None: they are counted round the clock."""
    service = submission.service_calendar
    if service is None:
        return None
    days = submission.period_from, submission.period_to
    start, end = (datetime.combine(day, time(0), service.calendar.zone).astimezone(UTC) for day in days)
    return ServiceHours(service, start, end)


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
    from scipy.special import bdtrc

    if p >= 1.0:
        return float(n >= k)
    if k <= 0 or k > n:
        return float(k <= 0)
    return float(bdtrc(k - 1, n, p))


__all__ = ["UNKNOWN_SITE", "Builder", "Climate", "Hazard", "posture_factor", "security"]
