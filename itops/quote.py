"""A quote: what it costs, why, on what data and assumptions, and the hash of everything it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from core.errors import InvalidInput
from core.money import Money
from itops import offers, pricing, questions, rules
from itops.alarms import WorkOrder, work_orders
from itops.book import Book
from itops.events import security
from itops.figures import PRIOR_ONLY, Experience, Figures, Range
from itops.fitted import UNKNOWN_SITE, Fitted, fit
from itops.fleet import Fleet
from itops.incident import IncidentTable
from itops.inputs import MODELS, UNNAMED_MODEL, since
from itops.payment import PaymentLaw
from itops.policy import BusinessInterruption, DataRecovery, InformationSecurity, PhysicalDamage, SystemAvailability
from itops.service_wire import described
from itops.submission import Submission
from itops.telemetry import ATTRIBUTES
from itops.year import year

#: Changes with every change that may move a premium.
MODEL_VERSION = MODELS[-1]

#: Models that can still be computed: a quote of one of them comes out as it was stored.
SUPPORTED = MODELS

#: The computation draws no random numbers; the stored quote says so beside its versions.
SEED = "none: no random numbers are drawn"


class NothingInForce(InvalidInput):
    """No asset of the fleet is in service in the policy period: there is nothing to insure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResult:
    """One device class in the quote."""

    device_class: str
    exposure_years: float  #: on record, in the exposure window
    n_incidents: int  #: opened in the exposure window
    n_open: int  #: of these, still open as of the as-of date
    rate_per_year: float
    frequency_prior_share: float
    years_in_force: float  #: device-years in the policy period
    expected_incidents: float
    repair_prior_share: float  #: weight of the prior among the tickets
    layer_prior_share: float  #: share of the expected payment per incident that the repair-time prior gives
    expected_loss: float  #: over all covers, before annual terms


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverResult:
    """One cover on its own, before annual terms."""

    cover: str
    expected_loss: float  #: after its terms of the year
    expected_failures: float  #: of single failures and accidents, before its terms of the year
    expected_ground_up: (
        float | None
    )  #: of single failures, before its terms, where that has a finite mean and is a class's own
    tail_part: float  #: co-TVaR: what it pays in the worst years of the whole policy
    risk_load: float  #: its part of the risk load
    premium: float  #: its part of the technical premium, services left out
    prior_only: bool
    quantile_99: float  #: alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """Something the quote stands on."""

    name: str
    value: str
    kind: str  #: "source", "judgement", "default", "declared" (by the insured), "limit" (what the model leaves out)
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """An immutable answer to a submission."""

    inputs_sha256: str
    model_version: str
    versions: Mapping[str, str]  #: of priors, shocks, tariff, rules, alarms, questionnaire
    insured: str
    as_of: date
    exposure_from: date
    exposure_to: date
    period_from: date
    period_to: date
    waterfall: pricing.Waterfall
    expected_loss: float
    standard_deviation: float
    quantile_99: float
    tail_mean_level: float
    tail_mean: float
    wang_risk_load: float
    prior_share: float
    classes: tuple[ClassResult, ...]
    covers: tuple[CoverResult, ...]
    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...]
    grid_step: float
    grid_nodes: int
    fitted: Fitted
    figures: Figures
    commercial: pricing.Commercial
    assessment: questions.Assessment
    segment: str
    facts: Mapping[str, float | None]
    fired: tuple[rules.Fired, ...]
    decision: str
    experience: Experience | None
    range: Range
    options: tuple[offers.Priced, ...]
    counter_offer: offers.CounterOffer | None
    related: tuple[str, ...]
    orders: tuple[WorkOrder, ...]
    after_work: tuple[float, pricing.Commercial] | None  #: expected loss and premium once the orders are done

    @property
    def premium(self) -> Money:
        """The technical premium."""
        return self.waterfall.technical_premium


# ---------------------------------------------------------------- the computation
def make_quote(
    submission: Submission,
    fleet: Fleet,
    incidents: IncidentTable,
    book: Book,
    inputs_sha256: str,
    model_version: str = MODEL_VERSION,
) -> Quote:
    """Prices the submission: the same inputs give the same quote to the cent.

    Raises NothingInForce, or BadTerms where a cover does not say what a class of the fleet affects.
    """
    fitted = fit(submission, fleet, incidents, book, model_version)
    if not any(model.years_in_force > 0 for model in fitted.classes.values()):
        raise NothingInForce(period_from=submission.period_from.isoformat(), period_to=submission.period_to.isoformat())
    figures = Figures(submission, fitted, book)
    segment = questions.segment_of(
        submission.segment, {name: model.years_in_force for name, model in fitted.classes.items()}
    )
    names = [cover.name for cover in submission.covers]
    assessment = questions.assess(names, segment, dict(submission.answers), 1.0, book)
    factor = rules.tier_factor(assessment.score, assessment.relativity, book.rules)
    commercial = offers.commercial(figures, factor)
    facts = _facts(figures, assessment, commercial, book)
    fired = rules.evaluate(book.rules, facts, submission.as_of)
    length = (submission.period_to - submission.period_from).days
    class_of = {asset.asset_id: asset.device_class for asset in fleet.assets}
    orders = _by_fit(work_orders(submission.alarms, class_of, length, book), fitted, book)
    after_work = None
    if orders:
        done = offers.with_work_done(figures, fitted, {order.asset_id: order.hazard_after for order in orders})
        after_work = (done.net.mean, offers.commercial(done, factor))
    law = figures.net
    return Quote(
        inputs_sha256=inputs_sha256,
        model_version=model_version,
        versions=book.versions(),
        insured=submission.insured,
        as_of=submission.as_of,
        exposure_from=submission.exposure_from,
        exposure_to=submission.exposure_to,
        period_from=submission.period_from,
        period_to=submission.period_to,
        waterfall=figures.waterfall,
        expected_loss=law.mean,
        standard_deviation=float(np.sqrt(law.variance)),
        quantile_99=law.quantile(0.99),
        tail_mean_level=submission.charge.level,
        tail_mean=law.tail_mean(submission.charge.level),
        wang_risk_load=figures.wang_risk_load,
        prior_share=figures.prior_share,
        classes=_classes(figures),
        covers=_covers(figures),
        assumptions=_assumptions(submission, figures, book),
        notes=_notes(submission, fleet, incidents, figures, facts),
        grid_step=float(law.loss[1] - law.loss[0]) if submission.annual.deductible == 0 else float(
            figures.law.total.loss[1]
        ),
        grid_nodes=len(law.loss),
        fitted=fitted,
        figures=figures,
        commercial=commercial,
        assessment=assessment,
        segment=segment,
        facts=facts,
        fired=fired,
        decision=rules.decision(fired),
        experience=figures.experience,
        range=figures.parameter_range(),
        options=offers.options(submission, figures, factor),
        counter_offer=offers.counter_offer(submission, figures, assessment, fired, book),
        related=questions.related(names, book),
        orders=orders,
        after_work=after_work,
    )  # fmt: skip


def _by_fit(orders: tuple[WorkOrder, ...], fitted: Fitted, book: Book) -> tuple[WorkOrder, ...]:
    """Orders whose device's hazard a fit with telemetry tells: its multiplier stands in place of the table's."""
    told = {d.asset.asset_id: d.alarm_of_fit for d in fitted.devices if d.alarm_of_fit is not None}
    out = []
    for order in orders:
        hazard = told.get(order.asset_id)
        if hazard is not None and order.signal in ATTRIBUTES:
            left = 1.0 - float(book.alarms["after"][order.action])
            after = 1.0 + (hazard - 1.0) * left
            order = replace(order, hazard_before=hazard, hazard_after=after, basis="fit")
        out.append(order)
    return tuple(out)


def _classes(figures: Figures) -> tuple[ClassResult, ...]:
    losses = figures.by_class()
    return tuple(
        ClassResult(
            device_class=name,
            exposure_years=model.exposure_years,
            n_incidents=model.frequency.n_incidents,
            n_open=model.n_open,
            rate_per_year=model.expected_incidents / model.years_in_force if model.years_in_force else float("nan"),
            frequency_prior_share=model.frequency.prior_share,
            years_in_force=model.years_in_force,
            expected_incidents=model.expected_incidents,
            repair_prior_share=model.repair.prior_share
            if model.repair_without_fit is None
            else float(model.repair.prior_part().survival(np.zeros(1))[0]),
            layer_prior_share=figures.layer_prior_share(name),
            expected_loss=losses[name],
        )
        for name, model in figures.fitted.classes.items()
    )


def _covers(figures: Figures) -> tuple[CoverResult, ...]:
    tails, loads, premiums = figures.tail_by_cover, figures.risk_load_by_cover(), figures.premium_by_cover()
    out = []
    for j, cover in enumerate(figures.covers):
        ground_up = None
        mapped = bool(figures.fitted.services)
        if isinstance(cover, SystemAvailability) or (isinstance(cover, BusinessInterruption) and not mapped):
            ground_up = sum(
                model.expected_incidents
                * PaymentLaw(cover.ground_up(name), figures.builder.seen_by(cover, model.repair)).mean
                for name, model in figures.fitted.classes.items()
            )
        alone = _alone(figures, j)
        out.append(
            CoverResult(
                cover=cover.name,
                expected_loss=float(figures.by_cover[j]),
                expected_failures=sum(
                    kind.expected_count * float(kind.mean[j]) for kind in figures.kinds if kind.cause == "attritional"
                ),
                expected_ground_up=ground_up,
                tail_part=float(tails[j]),
                risk_load=float(loads[j]),
                premium=premiums[j],
                prior_only=cover.name in PRIOR_ONLY,
                quantile_99=alone,
            )
        )
    return tuple(out)


def _alone(figures: Figures, j: int) -> float:
    """The 99 % quantile of one cover's year by itself."""
    if len(figures.covers) == 1:
        return figures.law.total.quantile(0.99)
    kinds = [replace(kind, payment=kind.payment[j : j + 1]) for kind in figures.kinds if np.any(kind.payment[j] > 0)]
    regime = figures.book.priors.regime_cv
    law = year(kinds, figures.terms[j : j + 1], regime_cv=regime, names=[figures.covers[j].name])
    return law.total.quantile(0.99)


def _facts(
    figures: Figures, assessment: questions.Assessment, commercial: pricing.Commercial, book: Book
) -> dict[str, float | None]:
    """What the referral rules look at; None is unknown."""
    submission, fitted = figures.submission, figures.fitted
    devices = figures.builder.devices
    limits = sum(float(cover.terms.limit) for cover in submission.covers)
    authority, capacity = submission.authority.limit, submission.authority.capacity
    premiums = figures.premium_by_cover()
    prior_only = sum(p for p, cover in zip(premiums, submission.covers, strict=True) if cover.name in PRIOR_ONLY)
    judged = [
        1.0 - model.frequency.prior_share
        for name, model in fitted.classes.items()
        if model.years_in_force > 0 and book.priors.frequency[name][1].kind == "judgement"
    ]
    pml = figures.site_pml()[1]
    told = [device.asset.monitored for device in devices]
    technical = float(commercial.technical.amount)
    gap = abs(float(commercial.premium.amount) / technical - 1.0) if technical > 0 else 0.0
    # A premium is whole cents: a discount of 15 % must not look like 15.0000001 % and fire a rule for more than 15 %.
    gap = round(gap, 4) if since(fitted.model_version, "itops-2026.4") else gap
    charged, wang = figures.risk_load, figures.wang_risk_load
    facts: dict[str, float | None] = {
        "score": assessment.score,
        "limit_over_authority": None if authority is None else limits / float(authority),
        "prior_only_share": prior_only / sum(premiums) if sum(premiums) > 0 else 0.0,
        "least_credibility": min(judged, default=1.0),
        "n_aged_7": float(sum(device.age_years >= 7 for device in devices)),
        "n_alarmed": float(len({alarm.asset_id for alarm in submission.alarms})),
        "site_pml_share_of_capacity": None if capacity is None else pml / float(capacity),
        "missing_telemetry": None
        if all(value is None for value in told)
        else sum(value != "yes" for value in told) / len(told),
        "commercial_gap": gap,
        "below_floor": float(commercial.below_floor),
        "risk_load_gap": abs(wang - charged) / max(wang, charged) if max(wang, charged) > 0 else 0.0,
        "unknown_site_share": sum(device.site == UNKNOWN_SITE for device in devices) / len(devices),
    }
    return {name: None if value is None else round(value, 9) for name, value in facts.items()}


# ---------------------------------------------------------------- what the quote says about itself
def _assumptions(submission: Submission, figures: Figures, book: Book) -> tuple[Assumption, ...]:
    out: list[Assumption] = []
    priors, names = book.priors, tuple(figures.fitted.classes)
    for name in names:
        prior, basis = priors.frequency[name]
        value = f"{prior.rate_per_year:g} a device-year, worth {prior.weight_years:g} device-years"
        out.append(Assumption(name=f"frequency prior, {name}", value=value, kind=basis.kind, basis=basis.text))
    for key in sorted({name if name in priors.repair else "default" for name in names}):
        item = priors.repair[key]
        law = item.law
        value = (
            f"median {float(np.exp(law.body_mu)):.2f} h (body), {law.probability_above:.1%} above "
            f"{law.threshold_h:g} h with tail shape {law.tail_shape:.2f}, worth {item.weight_tickets:g} tickets"
        )
        out.append(
            Assumption(name=f"repair-time prior, {key}", value=value, kind=item.basis.kind, basis=item.basis.text)
        )
    for key, (value, basis) in sorted(priors.assumptions.items()):
        out.append(Assumption(name=key.replace("_", " "), value=value, kind=basis.kind, basis=basis.text))
    out += _fit_assumptions(figures)
    out += _tariff_assumptions(figures, book)
    for cover in submission.covers:
        if isinstance(cover, BusinessInterruption) and not figures.fitted.services:
            shares = ", ".join(
                f"{name} {100 * share.normalize():f} %" for name, share in cover.affected_share.items() if name in names
            )
            out.append(
                Assumption(
                    name="revenue per hour", value=f"{cover.revenue_per_hour.normalize():,f} {submission.currency}",
                    kind="declared", basis="by the insured; not audited",
                )
            )  # fmt: skip
            out.append(
                Assumption(
                    name="share of revenue that one outage stops", value=shares,
                    kind="declared", basis="by the insured, by device class; stands in for a service map",
                )
            )  # fmt: skip
    for service in figures.fitted.services:
        out.append(
            Assumption(
                name=f"service {service.name}",
                value=f"{service.needed} of {len(service.assets)} devices, "
                f"{service.revenue_per_hour.normalize():,f} {submission.currency} an hour",
                kind="declared", basis="by the insured; devices fail independently but for the shocks",
            )
        )  # fmt: skip
    out += [
        Assumption(name=name, value=value, kind="default", basis="the submission does not say")
        for name, value in submission.assumed
    ]
    counted = figures.builder.service_hours
    if since(figures.fitted.model_version, "itops-2026.5") and any(
        isinstance(cover, SystemAvailability) for cover in submission.covers
    ):
        if counted is None:
            out.append(
                Assumption(
                    name="service_calendar", value="round the clock", kind="default",
                    basis="the submission does not say: elapsed hours count as service hours",
                )
            )  # fmt: skip
        else:
            starts = "uniform over time" if counted.uniform else "by the stated pattern of incidents"
            out.append(
                Assumption(
                    name=f"service hours, {counted.service.name}", value=described(counted.service), kind="declared",
                    basis=f"by the insured; starts of outages {starts}; {counted.share:.1%} of the time, "
                    f"{730.5 * counted.share:.1f} h a month; what comes after the policy period has no dated days "
                    "beyond those listed",
                )
            )  # fmt: skip
    out.append(
        Assumption(
            name="dependence", value="one regime factor common to all classes, and shocks as a layer of their own",
            kind="limit",
            basis="a shock counts as one ticket for the availability cover; services that share devices fail "
            "independently in the attritional layer; a cover with a limit for the year shares only the regime with "
            "the others",
        )
    )  # fmt: skip
    return tuple(out)


def _fit_assumptions(figures: Figures) -> list[Assumption]:
    """Each fit of another record that the quote stands on, with its version and hashes."""
    out = []
    for used in figures.fitted.fits:
        use = used.use
        found = f"{used.n_devices - used.n_unknown} of {used.n_devices} devices found by {use.by}"
        if used.n_unknown:
            found += ", the others get its collective"
        if use.kind == "fleet":
            value = f"{used.rate_per_year:.4g} a device-year, coefficient of variation {used.cv:.2f}; {found}"
        else:
            value = f"repair times of {used.device_class}; spread of a year about its forecast {used.cv:.2f}; {found}"
        record = (
            "the submission's own record, counted once" if use.same_record else "another record than the submission's"
        )
        out.append(
            Assumption(
                name=f"fit of {'rates' if use.kind == 'fleet' else 'repair times'}, {used.device_class}", value=value,
                kind="source",
                basis=f"`tocsin {use.kind} fit` {use.version}, shape {use.shape}, as of {use.as_of or 'not dated'}, "
                f"from the {use.source}; fit SHA-256 {use.sha256[:16]}, record SHA-256 {use.record_sha256[:16]}; "
                f"{record} (declared)",
            )
        )  # fmt: skip
    return out


def _tariff_assumptions(figures: Figures, book: Book) -> list[Assumption]:
    """What the tariff and the shocks put into this quote, each with its basis."""
    out = []

    def add(name: str, value: str, item: Mapping[str, Any]) -> None:
        out.append(Assumption(name=name, value=value, kind=str(item["kind"]), basis=str(item["basis"])))

    tariff, submission = book.tariff, figures.submission
    relativities = sorted({round(device.relativity, 4) for device in figures.builder.devices})
    shown = f"{relativities[0]:g}" + (f" to {relativities[-1]:g}" if len(relativities) > 1 else "")
    add("relativities of age, redundancy and monitoring", shown, tariff["relativity"]["age"])
    if figures.fitted.services:
        add("replacement after", f"{float(tariff['replacement_cap_h']['value']):g} h", tariff["replacement_cap_h"])
    for cover in submission.covers:
        if isinstance(cover, PhysicalDamage):
            table = tariff["damage"]
            rates = ", ".join(f"{name} {float(table['rate_per_year'][name]):g}" for name in figures.fitted.classes)
            add("accidental damage", f"a year: {rates}; valuation: {cover.valuation}", table)
        elif isinstance(cover, DataRecovery):
            value = f"a backup restores with {float(cover.restorable):.0%}; median cost {cover.cost_median:,.0f}"
            add("data recovery", value, tariff["recovery"])
        elif isinstance(cover, InformationSecurity):
            rate, law = security(cover, submission, book, None, None)
            value = f"{rate:.1%} a year, median {law.median:,.0f} {submission.currency}, sigma {law.sigma:g}"
            add("information security, prior only", value, tariff["security"])
    for name in sorted({kind.cause for kind in figures.kinds}):
        item = book.shocks["shocks"].get(name)
        if item is not None:
            rate = figures.builder.shock_rate(name)
            value = f"{rate:.3g} a year and {item['scope']}, median {float(item['median_h']):g} h"
            add(f"shock: {name.replace('_', ' ')}", value, item)
        elif name in ("flood", "wind", "shaking"):
            add(f"natural hazard: {name}", "return levels of the submission", book.shocks["hazard"][name])
    for name in submission.plan:
        value = f"rates of failure x {float(tariff['service_plans'][name]['hazard']):g}"
        add(f"service: {name.replace('_', ' ')}", value, tariff["service_plans"])
    station = figures.station
    if "managed" in submission.plan and station is not None:
        crew = station.engineers
        value = (
            f"{crew.servers} engineers on call for {crew.load:.2f} busy, {float(tariff['station']['share']):.0%} of "
            f"incidents attended within {station.wait_h:g} h; this fleet is {station.share_of_load:.2%} of the load"
        )
        add("station: engineers (Erlang C)", value, tariff["station"])
        shelf = ", ".join(f"{one.device_class} {one.parts}" for one in station.stock)
        add("station: spare parts", f"{shelf}; by demand through a delivery", tariff["station"])
    if submission.alarms:
        out.append(
            Assumption(
                name="alarms", value=f"their excess halves every {float(book.alarms['half_life_days']):g} days",
                kind="judgement", basis=str(book.alarms["note"]),
            )
        )  # fmt: skip
    if submission.claims:
        add("experience rating", "claims beside the model's own expectation", tariff["experience"])
    add("parameter uncertainty", "coefficients of variation of mean costs", tariff["parameter_cv"])
    return out


def _notes(
    submission: Submission,
    fleet: Fleet,
    incidents: IncidentTable,
    figures: Figures,
    facts: Mapping[str, float | None],
) -> tuple[str, ...]:
    notes = []
    fitted = figures.fitted
    if fitted.n_outside:
        notes.append(f"{fitted.n_outside} incidents opened outside the exposure window were not counted")
    if fitted.n_later:
        notes.append(f"{fitted.n_later} incidents opened after the as-of date were not known then and were not counted")
    if fitted.n_site_shocks:
        notes.append(
            f"{fitted.n_burst_incidents} incidents in {fitted.n_site_shocks} bursts that hit a site at once are rated "
            "as site shocks, not as failures of devices"
        )
    for table, columns in (("fleet", fleet.ignored_columns), ("incident", incidents.ignored_columns)):
        if columns:
            notes.append(f"columns of the {table} table that were not read: {', '.join(columns)}")
    if any(cover.name in PRIOR_ONLY for cover in submission.covers):
        notes.append(
            "information security is priced from published figures alone: device telemetry does not change this premium"
        )
    for cover, term in zip(submission.covers, figures.terms, strict=True):
        if cover.name in PRIOR_ONLY and (cover.terms.aggregate_limit is None or term.limit < float(cover.terms.limit)):
            limit = Money(pricing.exact(term.limit), submission.currency) if np.isfinite(term.limit) else "none"
            notes.append(f"information security pays at most a quarter of the policy's limits in a year: {limit}")
    unknown = sum(device.site == UNKNOWN_SITE for device in figures.builder.devices)
    if unknown:
        notes.append(f"{unknown} devices have no site and are taken to stand together at one unknown site")
    charged, wang = figures.risk_load, figures.wang_risk_load
    if max(wang, charged) > 0 and abs(wang - charged) > 0.2 * max(wang, charged):
        currency = submission.currency
        notes.append(
            f"refer: risk load by cost of capital ({Money(pricing.exact(charged), currency)}) and by Wang's transform "
            f"({Money(pricing.exact(wang), currency)}) differ by more than 20 %"
        )
    if (
        figures.fitted.model_version != UNNAMED_MODEL
        and rules.decision(rules.evaluate(figures.book.rules, facts, submission.as_of)) == "decline"
    ):
        notes.append("declined as asked: every premium here is an indication and not an offer; see the counter-offer")
    for check in figures.law.checks:
        if not check.holds:
            notes.append(f"the {check.moment} of {check.block} on the money grid is off by {check.relative_error:.1e}")
    return tuple(notes)
