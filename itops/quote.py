"""A quote: what it costs, why, on what data and assumptions, and the hash of everything it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from core.errors import InvalidInput
from core.money import Money
from itops import aggregate, frequency, incident, payment, pricing, severity
from itops.fleet import Fleet, exposure_years
from itops.incident import IncidentTable
from itops.policy import BusinessInterruption
from itops.priors import Priors
from itops.submission import Submission

#: Changes with every change that may move a premium.
MODEL_VERSION = "itops-2026.1"

#: Shift of Wang's transform for attritional losses, the second opinion on the risk load.
WANG_SHIFT = 0.25


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
    expected_loss: float
    expected_ground_up: float  #: before waiting period, deductible, share and limit, inside the indemnity period
    quantile_99: float


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
    priors_version: str
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

    @property
    def premium(self) -> Money:
        """The technical premium."""
        return self.waterfall.technical_premium


# ---------------------------------------------------------------- the computation
@dataclass(frozen=True, slots=True, kw_only=True)
class _ClassModel:
    """One device class, fitted."""

    frequency: frequency.Frequency
    repair: severity.Updated
    years_in_force: float
    n_open: int

    @property
    def expected_incidents(self) -> float:
        return self.frequency.rate_per_year * self.years_in_force


def make_quote(
    submission: Submission, fleet: Fleet, incidents: IncidentTable, priors: Priors, inputs_sha256: str
) -> Quote:
    """Prices the submission: the same inputs give the same quote to the cent.

    Raises NothingInForce, or BadTerms where a cover does not say what a class of the fleet affects.
    """
    models, n_outside, n_later = _fit(submission, fleet, incidents, priors)
    if not any(model.years_in_force > 0 for model in models.values()):
        raise NothingInForce(period_from=submission.period_from.isoformat(), period_to=submission.period_to.isoformat())
    by_class = {name: payment.total([cover.schedule(name) for cover in submission.covers]) for name in models}
    gross, _ = _year(models, by_class, priors)
    law = gross.layered(
        float(submission.annual.deductible),
        None if submission.annual.limit is None else float(submission.annual.limit),
    )
    waterfall = pricing.technical_premium(
        pricing.exact(law.mean),
        pricing.exact(pricing.risk_load_by_capital(law, submission.charge)),
        submission.loadings,
        submission.currency,
    )
    classes = tuple(_class_result(name, model, by_class[name]) for name, model in models.items())
    covers = []
    for cover in submission.covers:
        alone, mean = _year(models, {name: cover.schedule(name) for name in models}, priors)
        covers.append(
            CoverResult(
                cover=cover.name,
                expected_loss=mean,
                expected_ground_up=sum(
                    model.expected_incidents * payment.PaymentLaw(cover.ground_up(name), model.repair).mean
                    for name, model in models.items()
                ),
                quantile_99=alone.quantile(0.99),
            )
        )
    return Quote(
        inputs_sha256=inputs_sha256,
        model_version=MODEL_VERSION,
        priors_version=priors.version,
        insured=submission.insured,
        as_of=submission.as_of,
        exposure_from=submission.exposure_from,
        exposure_to=submission.exposure_to,
        period_from=submission.period_from,
        period_to=submission.period_to,
        waterfall=waterfall,
        expected_loss=law.mean,
        standard_deviation=float(np.sqrt(law.variance)),
        quantile_99=law.quantile(0.99),
        tail_mean_level=submission.charge.level,
        tail_mean=law.tail_mean(submission.charge.level),
        wang_risk_load=pricing.wang_mean(law, WANG_SHIFT) - law.mean,
        prior_share=_prior_share(classes),
        classes=classes,
        covers=tuple(covers),
        assumptions=_assumptions(submission, priors, tuple(models)),
        notes=_notes(fleet, incidents, n_outside, n_later, waterfall, law),
        grid_step=float(gross.loss[1]),
        grid_nodes=len(gross.loss),
    )


def _fit(
    submission: Submission, fleet: Fleet, incidents: IncidentTable, priors: Priors
) -> tuple[dict[str, _ClassModel], int, int]:
    """Frequency and repair law of each class, and how many incidents lay outside the window or came too late."""
    known_at = incident.end_of_day(submission.as_of, submission.time_zone)
    known = incident.as_known_at(incidents.incidents, known_at)
    counted = incident.opened_within(
        known,
        incident.start_of_day(submission.exposure_from, submission.time_zone),
        incident.start_of_day(submission.exposure_to, submission.time_zone),
    )
    on_record = exposure_years(fleet.assets, submission.exposure_from, submission.exposure_to)
    in_force = exposure_years(fleet.assets, submission.period_from, submission.period_to)
    models = {}
    for name in fleet.classes():
        own = [item for item in counted if item.device_class == name]
        times = incident.repair_times(own, known_at)
        repair_prior = priors.repair_of(name)
        models[name] = _ClassModel(
            frequency=frequency.update(priors.frequency[name][0], len(own), on_record[name]),
            repair=severity.Updated(repair_prior.law, repair_prior.weight_tickets, times),
            years_in_force=in_force[name],
            n_open=int(np.count_nonzero(~times.restored)),
        )
    return models, len(known) - len(counted), len(incidents.incidents) - len(known)


def _year(
    models: Mapping[str, _ClassModel], schedules: Mapping[str, payment.PaymentSchedule], priors: Priors
) -> tuple[aggregate.LossLaw, float]:
    """The law of the year's payments before annual terms, and its exact mean."""
    laws = {name: payment.PaymentLaw(schedules[name], model.repair) for name, model in models.items()}
    largest = max(law.largest for law in laws.values())
    mean = sum(model.expected_incidents * laws[name].mean for name, model in models.items())
    if mean <= 0:
        return aggregate.LossLaw(loss=np.array([0.0, 1.0]), probability=np.array([1.0, 0.0])), 0.0
    mixing = {
        name: frequency.mixing_cv2(model.frequency.parameter_cv2, priors.overdispersion_cv)
        for name, model in models.items()
    }
    # E[X^2] <= E[X] largest: an upper bound on the standard deviation is enough to lay the grid.
    variance = sum(
        model.expected_incidents * laws[name].mean * laws[name].largest
        + mixing[name] * (model.expected_incidents * laws[name].mean) ** 2
        for name, model in models.items()
    )
    step = aggregate.grid_step(mean, (variance + (priors.regime_cv * mean) ** 2) ** 0.5, largest)
    groups = [
        aggregate.LossGroup(
            expected_count=model.expected_incidents,
            mixing_cv2=mixing[name],
            probability=aggregate.discretise(laws[name].limited_mean, laws[name].largest, step),
        )
        for name, model in models.items()
    ]
    return aggregate.compound(groups, step=step, regime_cv=priors.regime_cv), mean


def _class_result(name: str, model: _ClassModel, schedule: payment.PaymentSchedule) -> ClassResult:
    law = payment.PaymentLaw(schedule, model.repair)
    from_prior = payment.PaymentLaw(schedule, model.repair.prior_part()).mean
    return ClassResult(
        device_class=name,
        exposure_years=model.frequency.exposure_years,
        n_incidents=model.frequency.n_incidents,
        n_open=model.n_open,
        rate_per_year=model.frequency.rate_per_year,
        frequency_prior_share=model.frequency.prior_share,
        years_in_force=model.years_in_force,
        expected_incidents=model.expected_incidents,
        repair_prior_share=model.repair.prior_share,
        layer_prior_share=from_prior / law.mean if law.mean > 0 else model.repair.prior_share,
        expected_loss=model.expected_incidents * law.mean,
    )


def _prior_share(classes: tuple[ClassResult, ...]) -> float:
    """Share of the expected loss that the fleet's own record does not carry: 1 - sum(EL Z_f Z_r) / sum(EL).

    Z_f is the credibility of the class's rate; Z_r the share of the expected payment that recorded repair times give.
    """
    total = sum(item.expected_loss for item in classes)
    if total <= 0:
        weights = [(1.0, item) for item in classes]
        total = float(len(classes))
    else:
        weights = [(item.expected_loss, item) for item in classes]
    carried = sum(w * (1 - item.frequency_prior_share) * (1 - item.layer_prior_share) for w, item in weights)
    return 1.0 - carried / total


# ---------------------------------------------------------------- what the quote says about itself
def _assumptions(submission: Submission, priors: Priors, names: tuple[str, ...]) -> tuple[Assumption, ...]:
    out = []
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
    for cover in submission.covers:
        if isinstance(cover, BusinessInterruption):
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
    out += [
        Assumption(name=name, value=value, kind="default", basis="the submission does not say")
        for name, value in submission.assumed
    ]
    out.append(
        Assumption(
            name="dependence", value="one regime factor common to all classes", kind="limit",
            basis="outages that hit many devices at once (site power, firmware batch, natural hazard) are priced only "
            "as far as they are in the incident table; no accumulation layer is added",
        )
    )  # fmt: skip
    return tuple(out)


def _notes(
    fleet: Fleet,
    incidents: IncidentTable,
    n_outside: int,
    n_later: int,
    waterfall: pricing.Waterfall,
    law: aggregate.LossLaw,
) -> tuple[str, ...]:
    notes = []
    if n_outside:
        notes.append(f"{n_outside} incidents opened outside the exposure window were not counted")
    if n_later:
        notes.append(f"{n_later} incidents opened after the as-of date were not known then and were not counted")
    for table, columns in (("fleet", fleet.ignored_columns), ("incident", incidents.ignored_columns)):
        if columns:
            notes.append(f"columns of the {table} table that were not read: {', '.join(columns)}")
    wang = pricing.wang_mean(law, WANG_SHIFT) - law.mean
    charged = float(waterfall.risk_load.amount)
    if max(wang, charged) > 0 and abs(wang - charged) > 0.2 * max(wang, charged):
        notes.append(
            f"refer: risk load by cost of capital ({waterfall.risk_load}) and by Wang's transform "
            f"({Money(pricing.exact(wang), waterfall.risk_load.currency)}) differ by more than 20 %"
        )
    return tuple(notes)


def plain(quote: Quote) -> dict[str, Any]:
    """The quote as plain JSON values. Amounts are numbers with the currency's minor units, exact to the cent."""
    w = quote.waterfall
    currency = w.technical_premium.currency

    def amount(value: float) -> float:
        return float(Money(pricing.exact(value), currency).rounded().amount)

    return {
        "premium": float(w.technical_premium.amount),
        "currency": currency,
        "waterfall": {
            name: float(getattr(w, name).amount)
            for name in (
                "expected_loss", "loss_adjustment", "service_cost", "risk_load", "acquisition", "administration",
                "profit", "technical_premium",
            )
        },
        "expected_loss": amount(quote.expected_loss),
        "standard_deviation": amount(quote.standard_deviation),
        "quantile_99": amount(quote.quantile_99),
        "tail_mean": {"level": quote.tail_mean_level, "amount": amount(quote.tail_mean)},
        "wang_risk_load": amount(quote.wang_risk_load),
        "prior_share": round(quote.prior_share, 6),
        "as_of": quote.as_of.isoformat(),
        "exposure_window": {"from": quote.exposure_from.isoformat(), "to": quote.exposure_to.isoformat()},
        "policy_period": {"from": quote.period_from.isoformat(), "to": quote.period_to.isoformat()},
        "insured": quote.insured,
        "inputs_sha256": quote.inputs_sha256,
        "model_version": quote.model_version,
        "priors_version": quote.priors_version,
        "classes": [
            {
                "device_class": c.device_class,
                "exposure_years": round(c.exposure_years, 6),
                "n_incidents": c.n_incidents,
                "n_open": c.n_open,
                "rate_per_year": round(c.rate_per_year, 9),
                "frequency_prior_share": round(c.frequency_prior_share, 6),
                "years_in_force": round(c.years_in_force, 6),
                "expected_incidents": round(c.expected_incidents, 6),
                "repair_prior_share": round(c.repair_prior_share, 6),
                "layer_prior_share": round(c.layer_prior_share, 6),
                "expected_loss": amount(c.expected_loss),
            }
            for c in quote.classes
        ],
        "covers": [
            {
                "cover": c.cover,
                "expected_loss": amount(c.expected_loss),
                "expected_ground_up": amount(c.expected_ground_up),
                "quantile_99": amount(c.quantile_99),
            }
            for c in quote.covers
        ],
        "assumptions": [
            {"name": a.name, "value": a.value, "kind": a.kind, "basis": a.basis} for a in quote.assumptions
        ],
        "notes": list(quote.notes),
        "grid": {"step": quote.grid_step, "nodes": quote.grid_nodes},
    }  # fmt: skip
