"""The figures of one set of terms: the year's law, the premium and how it came about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property

import numpy as np
from scipy.special import gammaincinv

from core.money import Money
from itops import pricing
from itops.aggregate import LossLaw
from itops.book import Book
from itops.events import Builder, Climate
from itops.fitted import Fitted
from itops.inputs import since
from itops.payment import PaymentLaw, PaymentSchedule
from itops.policy import BusinessInterruption, Cover, SystemAvailability
from itops.severity import FloatArray
from itops.station import Station, station_for
from itops.submission import Submission
from itops.year import CoverTerms, EventKind, YearLaw, year

#: Causes whose expected loss no record of the insured carries.
PRIOR_ONLY = ("information_security",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What the insured's own claims say beside what the model expects of the same time."""

    modification: float  #: on the expected loss, within the tariff's swing
    credibility: float
    actual_capped: float
    expected: float
    expected_claims: float
    n_left_out: int  #: claims of events that hit a whole site


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What is not known about the mean cost, as a range of premium."""

    expected_loss: tuple[float, float]  #: 5 % and 95 %
    premium: tuple[float, float]
    cv: float  #: of the expected loss
    editions: tuple[tuple[str, float], ...]  #: security: expected loss under each published edition


class Figures:
    """Everything computed for one set of terms; parts that are not asked for are not computed."""

    def __init__(
        self,
        submission: Submission,
        fitted: Fitted,
        book: Book,
        climate: Climate | None = None,
        like: "Figures | None" = None,
    ) -> None:
        self.submission, self.fitted, self.book = submission, fitted, book
        self.builder: Builder = Builder(submission, fitted, book, climate, None if like is None else like.builder)

    @cached_property
    def kinds(self) -> list[EventKind]:
        """Every kind of event that a cover pays for."""
        return self.builder.all()

    @property
    def covers(self) -> tuple[Cover, ...]:
        return self.builder.covers

    @cached_property
    def terms(self) -> tuple[CoverTerms, ...]:
        """Terms of the year of each cover; security has a share of the policy's limits as its most."""
        limits = sum(float(cover.terms.limit) for cover in self.covers)
        out = []
        for cover in self.covers:
            t = cover.terms
            limit = np.inf if t.aggregate_limit is None else float(t.aggregate_limit)
            if cover.name == "information_security" and len(self.covers) > 1:
                share = float(self.book.tariff["security"]["aggregate_share_of_policy"])
                limit = min(limit, max(share * limits, 0.0))
            out.append(CoverTerms(deductible=float(t.aggregate_deductible), limit=limit))
        return tuple(out)

    @cached_property
    def law(self) -> YearLaw:
        """The year's law over all covers."""
        return year(
            self.kinds, self.terms, regime_cv=self.book.priors.regime_cv, names=[cover.name for cover in self.covers]
        )

    @cached_property
    def net(self) -> LossLaw:
        """The law of what the policy pays in the year, after the terms on its total."""
        annual = self.submission.annual
        return self.law.total.layered(float(annual.deductible), None if annual.limit is None else float(annual.limit))

    # ------------------------------------------------------------ expected loss and where it comes from
    @cached_property
    def by_cover(self) -> FloatArray:
        """(n_covers,) expected loss after each cover's terms of the year, before those on the total."""
        return self.law.cover_mean

    def by_cause(self) -> dict[str, float]:
        """Expected loss before terms of the year by cause."""
        out: dict[str, float] = {}
        for kind in self.kinds:
            out[kind.cause] = out.get(kind.cause, 0.0) + kind.expected_count * float(np.sum(kind.mean))
        return out

    def by_class(self) -> dict[str, float]:
        """Expected loss of single failures and accidents by device class, before terms of the year."""
        out = dict.fromkeys(self.fitted.classes, 0.0)
        for kind in self.kinds:
            if kind.device_class:
                out[kind.device_class] += kind.expected_count * float(np.sum(kind.mean))
        return out

    @cached_property
    def tail_by_cover(self) -> FloatArray:
        """(n_covers,) co-TVaR: what each cover pays in the worst years of the total."""
        return self.law.co_tail_mean(self.submission.charge.level)

    # ------------------------------------------------------------ build-up: base, relativities, record, shocks
    def build_up(self) -> list[tuple[str, float]]:
        """Expected loss of failures with prior rates and no relativities, then with each thing that moved it."""
        outages = [kind for kind in self.kinds if kind.cause == "attritional"]
        recorded = sum(kind.expected_count * float(np.sum(kind.mean)) for kind in outages)
        plain = related = fitted = repaired = 0.0
        for kind in outages:
            own = kind.expected_count * float(np.sum(kind.mean))
            model = self.fitted.classes.get(kind.device_class)
            if model is None or kind.name.startswith("accident") or model.expected_incidents <= 0:
                plain, related, fitted, repaired = plain + own, related + own, fitted + own, repaired + own
                continue
            prior = self.book.priors.frequency[kind.device_class][0].rate_per_year
            # For a service that needs several devices this is first order in the rates.
            plain += own * prior * model.plain_years / model.expected_incidents
            related += own * prior * model.weighted_years / model.expected_incidents
            fitted += own * model.fitted_rate * model.weighted_years / model.expected_incidents
            repaired += own * self._without_repair_fit(kind.device_class)
        total = float(np.sum([kind.expected_count * np.sum(kind.mean) for kind in self.kinds]))
        security = sum(k.expected_count * float(np.sum(k.mean)) for k in self.kinds if k.cause == "security")
        if self.fitted.fits:
            # A fit of rates, then one of repair times, then the own record. The three act one after the other: the
            # base is with the book's own rates and repair times.
            ratio = repaired / recorded if recorded > 0 else 1.0
            steps = [
                ("base", plain * ratio),
                ("relativities", (related - plain) * ratio),
                ("fit_of_rates", (fitted - related) * ratio),
                ("fit_of_repair_times", fitted * (1.0 - ratio)),
                ("own_record", recorded - fitted),
            ]
        else:
            steps = [("base", plain), ("relativities", related - plain), ("own_record", recorded - related)]
        return [
            *steps,
            ("dependence", total - recorded - security),
            ("information_security", security),
            ("terms_of_the_year", self.net.mean - total),
        ]

    def _without_repair_fit(self, device_class: str) -> float:
        """Payment per outage of a class with the book's own prior of repair times, as a share of that with the fit."""
        model = self.fitted.classes[device_class]
        if model.repair_without_fit is None:
            return 1.0
        seen, paid = self.builder.seen_by, self._outage_schedules(device_class)
        with_fit = sum(PaymentLaw(schedule, seen(cover, model.repair)).mean for cover, schedule in paid)
        without = sum(PaymentLaw(schedule, seen(cover, model.repair_without_fit)).mean for cover, schedule in paid)
        return without / with_fit if with_fit > 0 else 1.0

    # ------------------------------------------------------------ experience
    @cached_property
    def experience(self) -> Experience | None:
        """The modification by the insured's claims; None where the submission names none."""
        claims = self.submission.claims
        if not claims:
            return None
        table = self.book.tariff["experience"]
        limit = max(float(cover.terms.limit) for cover in self.covers)
        cap = float(table["cap_share_of_limit"]) * limit
        from itops.policy import SUBLIMIT_CAUSES

        counted = [claim for claim in claims if claim.cause not in SUBLIMIT_CAUSES]
        actual = sum(min(float(claim.amount), cap) for claim in counted)
        expected = n_expected = 0.0
        for kind in self.kinds:
            model = self.fitted.classes.get(kind.device_class)
            if kind.cause != "attritional" or model is None or model.weighted_years <= 0:
                continue
            past = kind.expected_count * model.exposure_years / max(model.years_in_force, 1e-12)
            paid = kind.payment.sum(axis=0)
            expected += past * float(np.sum(np.minimum(paid, cap) * kind.probability))
            n_expected += past * float(np.sum(kind.probability[paid > 0]))
        z = n_expected / (n_expected + float(table["half_at_expected_claims"]))
        ratio = actual / expected if expected > 0 else 1.0
        modification = z * ratio + 1.0 - z
        return Experience(
            modification=min(max(modification, float(table["least"])), float(table["most"])),
            credibility=z,
            actual_capped=actual,
            expected=expected,
            expected_claims=n_expected,
            n_left_out=len(claims) - len(counted),
        )

    # ------------------------------------------------------------ premium
    @cached_property
    def service_cost(self) -> dict[str, float]:
        """Cost of the service plan bought, by plan."""
        return {name: self.plan_cost(name) for name in self.submission.plan}

    def plan_cost(self, name: str) -> float:
        """What a service plan costs for these devices in the period: a cost by class, times the SLA tier's price."""
        table = self.book.tariff["service_plans"][name]["per_device_year_usd"]
        if name == "managed" and since(self.fitted.model_version, "itops-2026.4"):
            table = self.book.tariff["station"]["operation_usd_per_device_year"]
        tiers = self.book.tariff["relativity"]["sla_tier"]
        rate = Decimal(1) if self.submission.currency == "USD" else self.submission.usd_rate
        if rate is None:
            from itops.policy import BadTerms

            raise BadTerms("usd_rate: is missing; prices of service plans are in US dollars")
        cost = 0.0
        for (device_class, tier), years in self.builder.population.years_by_tier.items():
            factor = 1.0 if tier is None else float(tiers[tier])
            cost += years * float(table[device_class]) * factor
        if name == "managed" and self.station is not None:
            cost += self.station.engineers_usd + self.station.spares_usd
        return cost * float(rate)

    @cached_property
    def station(self) -> Station | None:
        """The station behind a managed service; None with earlier models, or where nothing fails."""
        if not since(self.fitted.model_version, "itops-2026.4"):
            return None
        rate = Decimal(1) if self.submission.currency == "USD" else self.submission.usd_rate
        years = (self.submission.period_to - self.submission.period_from).days / 365.25
        incidents = {
            name: model.expected_incidents / years
            for name, model in self.fitted.classes.items()
            if model.expected_incidents > 0
        }
        known: dict[str, list[float]] = {}
        for device in self.builder.devices:
            if device.asset.value is not None:
                known.setdefault(device.asset.device_class, []).append(float(device.asset.value))
        values = {
            name: sum(known[name]) / len(known[name]) / float(rate) if name in known and rate is not None else None
            for name in incidents
        }
        tiers = {tier for _, tier in self.builder.population.years_by_tier}
        return station_for(incidents, values, tiers, years, self.book.tariff["station"])

    @cached_property
    def risk_load(self) -> float:
        """Cost of capital x (TVaR - expected loss)."""
        return pricing.risk_load_by_capital(self.net, self.submission.charge)

    def risk_load_by_cover(self) -> FloatArray:
        """The risk load by the covers' parts in the worst years, those below their own mean taking none."""
        parts = np.maximum(self.tail_by_cover - self.by_cover, 0.0)
        total = float(np.sum(parts))
        return parts * (self.risk_load / total) if total > 0 else np.zeros(len(self.covers))

    @cached_property
    def wang_shift(self) -> float:
        """Shift of Wang's transform: attritional 0.25 and catastrophe 0.45, by their parts in the expected loss."""
        table = self.book.tariff["capital"]
        causes = self.by_cause()
        total = sum(causes.values())
        if total <= 0:
            return float(table["wang_attritional"])
        severe = 1.0 - causes.get("attritional", 0.0) / total
        return (1.0 - severe) * float(table["wang_attritional"]) + severe * float(table["wang_catastrophe"])

    @cached_property
    def wang_risk_load(self) -> float:
        """The risk load by Wang's transform, the second opinion."""
        return pricing.wang_mean(self.net, self.wang_shift) - self.net.mean

    @cached_property
    def waterfall(self) -> pricing.Waterfall:
        """From the expected loss to the technical premium."""
        experience = self.experience
        mod = 1.0 if experience is None else experience.modification
        loadings = replace(
            self.submission.loadings,
            service_cost=self.submission.loadings.service_cost + pricing.exact(sum(self.service_cost.values())),
        )
        return pricing.technical_premium(
            pricing.exact(self.net.mean),
            pricing.exact(self.risk_load),
            loadings,
            self.submission.currency,
            experience=pricing.exact(self.net.mean * (mod - 1.0)),
        )

    @property
    def technical_premium(self) -> Money:
        return self.waterfall.technical_premium

    def premium_by_cover(self) -> list[float]:
        """The technical premium, without services, by cover."""
        loadings = self.submission.loadings
        share = float(loadings.acquisition + loadings.administration + loadings.profit)
        gross = float(np.sum(self.by_cover))
        scale = self.net.mean / gross if gross > 0 else 0.0
        mod = 1.0 if self.experience is None else self.experience.modification
        loss = self.by_cover * scale * mod * (1.0 + float(loadings.loss_adjustment))
        return [float(x) for x in (loss + self.risk_load_by_cover()) / (1.0 - share)]

    # ------------------------------------------------------------ what is not known
    @cached_property
    def prior_share(self) -> float:
        """Share of the expected loss that the fleet's own record does not carry: 1 - sum(EL Z_f Z_r) / sum(EL)."""
        total = carried = 0.0
        weights = 0.0
        for kind in self.kinds:
            model = self.fitted.classes.get(kind.device_class)
            own = kind.expected_count * float(np.sum(kind.mean))
            total += own
            if model is None or not kind.name.startswith("outage"):
                continue
            z = (1.0 - model.frequency.prior_share) * (1.0 - self.layer_prior_share(kind.device_class))
            carried += own * z
            weights += 1.0
        if total <= 0:
            parts = [
                (1.0 - m.frequency.prior_share) * (1.0 - m.repair.prior_share) for m in self.fitted.classes.values()
            ]
            return 1.0 - sum(parts) / len(parts)
        return 1.0 - carried / total

    def layer_prior_share(self, device_class: str) -> float:
        """Share of a class's expected payment per outage that the repair-time prior gives."""
        return self._layer_shares[device_class]

    @cached_property
    def _layer_shares(self) -> dict[str, float]:
        out = {}
        for name, model in self.fitted.classes.items():
            seen = self.builder.seen_by
            shares = []
            for cover, schedule in self._outage_schedules(name):
                whole = PaymentLaw(schedule, seen(cover, model.repair)).mean
                if whole > 0:
                    part = PaymentLaw(schedule, seen(cover, model.repair.prior_part())).mean
                    shares.append((whole, part / whole))
            weight = sum(w for w, _ in shares)
            out[name] = sum(w * s for w, s in shares) / weight if weight > 0 else model.repair.prior_share
        return out

    def _outage_schedules(self, device_class: str) -> list[tuple[Cover, PaymentSchedule]]:
        """What one outage of a class pays under each cover of outages, by the hours that the cover counts."""
        schedules: list[tuple[Cover, PaymentSchedule]] = []
        for cover in self.covers:
            if isinstance(cover, BusinessInterruption):
                mapped = bool(self.fitted.services)
                schedules.append((cover, cover.outage(1.0) if mapped else cover.schedule(device_class)))
            elif isinstance(cover, SystemAvailability):
                schedules.append((cover, cover.schedule(device_class)))
        return schedules

    def parameter_range(self) -> Range:
        """The range of the expected loss by what is not known: rates, repair times, shocks, priors.

        Independent sources, first order; a gamma law of the same mean and variance. The premium follows with its risk
        load in proportion.
        """
        table = self.book.tariff["parameter_cv"]
        variance = 0.0
        classes: dict[str, float] = {}
        sums = {"repair": 0.0, "shocks": 0.0, "damage": 0.0, "recovery": 0.0, "security": 0.0}
        for kind in self.kinds:
            own = kind.expected_count * float(np.sum(kind.mean))
            if kind.cause == "security":
                sums["security"] += own
            elif kind.cause != "attritional":
                sums["shocks"] += own
            elif kind.name.startswith("accident"):
                sums["damage"] += own
            else:
                classes[kind.device_class] = classes.get(kind.device_class, 0.0) + own
                sums["recovery" if kind.name.startswith("data lost") else "repair"] += own
        for name, own in classes.items():
            variance += own**2 * self.fitted.classes[name].frequency.parameter_cv2
        repair_cv = max((used.cv or 0.0 for used in self.fitted.fits if used.use.kind == "repair"), default=None)
        cvs = {name: float(table[name]) for name in ("repair", "shocks", "damage", "recovery")}
        if repair_cv is not None:
            cvs["repair"] = repair_cv  # how far such forecasts missed in the fit's own past years
        variance += sum((sums[name] * cv) ** 2 for name, cv in cvs.items())
        editions = []
        at = next((k for k, c in enumerate(self.covers) if c.name == "information_security"), None)
        if at is not None:
            for edition in self.book.tariff["security"]["editions"]:
                kinds = self.builder.breaches(float(edition["median_usd"]), float(edition["sigma"]))
                editions.append((str(edition["name"]), sum(k.expected_count * float(np.sum(k.mean)) for k in kinds)))
            spread = np.array([value for _, value in editions])
            variance += float(np.mean((spread - sums["security"]) ** 2))
        total = sum(sums.values())
        mean = self.net.mean
        if mean <= 0 or total <= 0:
            return Range(expected_loss=(0.0, 0.0), premium=(0.0, 0.0), cv=0.0, editions=tuple(editions))
        cv = variance**0.5 / total
        low, high = (float(gammaincinv(1.0 / cv**2, p)) * mean * cv**2 for p in (0.05, 0.95))
        services = float(self.waterfall.service_cost.amount)
        whole = float(self.technical_premium.amount)
        loadings = self.submission.loadings
        net_share = 1.0 - float(loadings.acquisition + loadings.administration + loadings.profit)
        fixed = services / net_share
        return Range(
            expected_loss=(low, high),
            premium=(fixed + (whole - fixed) * low / mean, fixed + (whole - fixed) * high / mean),
            cv=cv,
            editions=tuple(editions),
        )

    def site_pml(self) -> tuple[str, float, float]:
        """(site, amount, return period in years) of the worst site's outage, at the 99th percentile of its length."""
        entry = self.book.shocks["shocks"]["site"]
        hours = float(entry["median_h"]) * float(np.exp(2.3263478740408408 * float(entry["sigma"])))
        worst, amount = "", 0.0
        for name, members in self.builder.scopes("site").items():
            loss = float(np.sum(self.builder.site_loss(members, hours)))
            if loss >= amount:
                worst, amount = name, loss
        return worst, amount, 1.0 / (self.builder.shock_rate("site") * 0.01)


def availability_of(figures: Figures) -> list[dict[str, float | str]]:
    """Each service: outages a year and the share of time it is down."""
    out: list[dict[str, float | str]] = []
    in_force = {device.asset.asset_id for device in figures.builder.devices}
    for service, law in figures.builder.service_outages:
        if law is None:
            continue
        out.append(
            {
                "service": service.name,
                "n_devices": sum(one in in_force for one in service.assets),
                "needed": service.needed,
                "outages_per_year": law.rate_per_year,
                "unavailability": law.unavailability,
            }
        )
    return out


def check_flags(law: YearLaw) -> list[dict[str, float | str | bool]]:
    """Each moment on the grid beside the exact one, and whether it holds."""
    return [
        {
            "moment": check.moment,
            "covers": check.block,
            "relative_error": round(check.relative_error, 9),
            "tolerance": check.tolerance,
            "holds": check.holds,
        }
        for check in law.checks
    ]


def mean_without_year_terms(kinds: Sequence[EventKind]) -> float:
    """Expected payments before terms of the year."""
    return sum(kind.expected_count * float(np.sum(kind.mean)) for kind in kinds)
