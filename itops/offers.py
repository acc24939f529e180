"""Other ways to write a risk: options to compare, and the counter-offer to one that is not standard."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from itops import questions, rules
from itops.book import Book
from itops.covers_wire import plain_cover
from itops.figures import Figures
from itops.fitted import Fitted
from itops.inputs import since
from itops.policy import BusinessInterruption, Cover
from itops.pricing import Commercial, commercial_premium
from itops.questions import Assessment
from itops.submission import BadSubmission, Submission, cover_again

#: Shares of a cover's limit that a sublimit for one site is tried at.
_SUBLIMITS = tuple(Decimal(text) for text in ("0.75", "0.5", "0.35", "0.25", "0.15", "0.1", "0.05"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """One set of terms with its price."""

    name: str
    terms: tuple[Mapping[str, Any], ...]  #: of each cover, plain
    changed: tuple[str, ...]  #: what differs from what was asked for
    figures: Figures
    commercial: Commercial


def price_terms(
    name: str,
    submission: Submission,
    covers: Sequence[Cover],
    changed: Sequence[str],
    base: Figures,
    *,
    tier_factor: Decimal,
) -> Priced:
    """The same risk under other covers."""
    figures = Figures(replace(submission, covers=tuple(covers)), base.fitted, base.book, like=base)
    return Priced(
        name=name,
        terms=tuple(plain_cover(cover) for cover in covers),
        changed=tuple(changed),
        figures=figures,
        commercial=commercial(figures, tier_factor),
    )


def commercial(figures: Figures, tier_factor: Decimal) -> Commercial:
    """The commercial premium of a set of figures."""
    submission = figures.submission
    return commercial_premium(
        figures.waterfall,
        submission.loadings,
        factor=submission.market.factor,
        tier_factor=tier_factor,
        approved_by=submission.market.approved_by,
        levies=submission.levies,
    )


def with_deductibles(covers: Sequence[Cover], factor: Decimal) -> tuple[tuple[Cover, ...], list[str]]:
    """Every cover with its deductible times a factor; one without a deductible gets a twentieth of its limit."""
    out, told = [], []
    for cover in covers:
        t = cover.terms
        wanted = t.deductible * factor if t.deductible > 0 else t.limit / 20
        wanted = min(wanted, t.limit).quantize(Decimal("0.01"))
        out.append(replace(cover, terms=replace(t, deductible=wanted)))
        told.append(f"{cover.name}.deductible {t.deductible:f} -> {wanted:f}")
    return tuple(out), told


def with_waiting(covers: Sequence[Cover], factor: float) -> tuple[tuple[Cover, ...], list[str]]:
    """Business interruption with its waiting period times a factor, below its indemnity period."""
    out: list[Cover] = []
    told: list[str] = []
    for cover in covers:
        if isinstance(cover, BusinessInterruption):
            wanted = max(cover.waiting_period_h * factor, 4.0)
            wanted = min(wanted, max(cover.indemnity_period_h / 2, cover.waiting_period_h))
            told.append(f"{cover.name}.waiting_period_h {cover.waiting_period_h:g} -> {wanted:g}")
            out.append(replace(cover, waiting_period_h=wanted))
        else:
            out.append(cover)
    return tuple(out), told


def with_sublimits(covers: Sequence[Cover], share: Decimal) -> tuple[tuple[Cover, ...], list[str]]:
    """Outage covers with a sublimit on what hits a whole site at once."""
    out, told = [], []
    for cover in covers:
        if cover.name in ("business_interruption", "system_availability"):
            t = cover.terms
            wanted = (t.limit * share).quantize(Decimal("0.01"))
            own = dict(t.sublimits) | {
                cause: min(wanted, t.sublimits.get(cause, wanted)) for cause in ("site", "flood", "wind", "shaking")
            }
            told.append(f"{cover.name}.sublimits.site {wanted:f} each event, also flood, wind and shaking")
            out.append(replace(cover, terms=replace(t, sublimits=own)))
        else:
            out.append(cover)
    return tuple(out), told


def options(submission: Submission, base: Figures, tier_factor: Decimal) -> tuple[Priced, ...]:
    """What was asked for beside twice the waiting period, twice the deductible, and the submission's own options.

    Raises BadSubmission naming the option and field that cannot be read.
    """
    covers = submission.covers
    out = [
        Priced(
            name="as_asked", terms=tuple(plain_cover(cover) for cover in covers), changed=(), figures=base,
            commercial=commercial(base, tier_factor),
        )
    ]  # fmt: skip
    changes = [("deductible_x2", *with_deductibles(covers, Decimal(2)))]
    if any(isinstance(cover, BusinessInterruption) for cover in covers):
        changes.insert(0, ("waiting_period_x2", *with_waiting(covers, 2.0)))
    for index, option in enumerate(submission.options):
        own, told = [], []
        for cover in covers:
            asked = option.covers.get(cover.name)
            if asked is None:
                own.append(cover)
                continue
            own.append(
                cover_again(plain_cover(cover) | dict(asked), submission, at=f"options.{index}.covers.{cover.name}")
            )
            told += [f"{cover.name}.{name} -> {value}" for name, value in sorted(asked.items())]
        changes.append((option.name, tuple(own), told))
    for name, changed, told in changes:
        out.append(price_terms(name, submission, changed, told, base, tier_factor=tier_factor))
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that would bring a risk nearer to standard."""

    kind: str  #: "price", "deductible", "waiting_period", "sublimit", "condition"
    what_en: str
    what_zh: str
    score: float  #: with this and every condition before it
    tier: str
    premium: Decimal | None  #: commercial, with this alone; None: the price follows the new score


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterOffer:
    """What the insurer would write instead."""

    steps: tuple[Step, ...]
    to_standard: tuple[str, ...]  #: ids of the conditions that together bring the score to standard; () where none do
    reachable: bool


def _best(answers: Mapping[str, Any]) -> str:
    """The answer with the least factor."""
    return min(answers, key=lambda answer: float(answers[answer]))


def conditions(
    assessment: Assessment, book: Book, again: Callable[[Mapping[str, str]], Assessment] | None
) -> tuple[list[str], bool, list[Step]]:
    """(ids of the questions to mend, whether that brings the risk to standard, a step for each), strongest first.

    `again` judges the risk anew with the best answers to what is mended: a better score asks fewer questions, so that
    what was asked and not answered may fall away. Without it (earlier models) the factors alone are taken out.
    """
    answers = {str(q["id"]): _best(q["answers"]) for q in book.questionnaire["questions"]}
    names, steps, left, reached = list[str](), list[Step](), assessment.relativity, False
    for item in sorted(assessment.asked, key=lambda one: one.best / one.factor):
        if item.best >= item.factor or reached:
            break
        left = left * item.best / item.factor
        names.append(item.id)
        value = rules.score(left, book.rules) if again is None else again({name: answers[name] for name in names}).score
        reached = rules.tier(value, book.rules) == "standard"
        steps.append(
            Step(
                kind="condition", what_en=item.remedy_en, what_zh=item.remedy_zh, score=value,
                tier=rules.tier(value, book.rules), premium=None,
            )
        )  # fmt: skip
    return names, reached, steps


def counter_offer(
    submission: Submission, base: Figures, assessment: Assessment, fired: Sequence[rules.Fired], book: Book
) -> CounterOffer | None:
    """The counter-offer to a risk that is not standard or was referred for its concentration; None where it is."""
    concentrated = any(item.rule == "concentration" and item.state == "fired" for item in fired)
    if assessment.tier == "standard" and not concentrated:
        return None
    steps: list[Step] = []
    relativity = assessment.relativity
    names: list[str] = []
    reached = assessment.tier == "standard"
    if not reached:
        factor = rules.tier_factor(assessment.score, relativity, book.rules)
        if assessment.tier == "load":
            load = f"{100 * (float(factor) - 1):.0f} %"
            steps.append(
                Step(
                    kind="price", what_en=f"load the premium by {load}", what_zh=f"保费加费{load}",
                    score=assessment.score, tier=assessment.tier, premium=commercial(base, factor).premium.amount,
                )
            )  # fmt: skip
        for kind, en, zh, (covers, told) in (
            ("deductible", "double the deductibles instead of a load", "免赔额加倍以代替加费",
             with_deductibles(submission.covers, Decimal(2))),
            ("waiting_period", "double the waiting period instead of a load", "等待期加倍以代替加费",
             with_waiting(submission.covers, 2.0)),
        ):  # fmt: skip
            if not told:
                continue
            priced = price_terms(kind, submission, covers, told, base, tier_factor=Decimal(1))
            steps.append(
                Step(
                    kind=kind, what_en=f"{en}: {'; '.join(told)}", what_zh=f"{zh}：{'；'.join(told)}",
                    score=assessment.score, tier=assessment.tier, premium=priced.commercial.premium.amount,
                )
            )  # fmt: skip
        again = None
        if since(base.fitted.model_version, "itops-2026.4"):
            segment = questions.segment_of(
                submission.segment, {name: model.years_in_force for name, model in base.fitted.classes.items()}
            )
            asked_for = [cover.name for cover in submission.covers]

            def again(mended: Mapping[str, str]) -> Assessment:
                return questions.assess(asked_for, segment, {**dict(submission.answers), **mended}, 1.0, book)

        names, reached, found = conditions(assessment, book, again)
        steps += found
    if concentrated:
        covers, told = with_sublimits(submission.covers, Decimal("0.5"))
        if told and since(base.fitted.model_version, "itops-2026.4"):
            covers, told, answered = _below_concentration(submission, base, fired)
            reached = reached and answered
        if told:
            priced = price_terms("sublimit", submission, covers, told, base, tier_factor=Decimal(1))
            steps.append(
                Step(
                    kind="sublimit", what_en="; ".join(told), what_zh="单一站点事件分项限额：" + "；".join(told),
                    score=assessment.score, tier=assessment.tier, premium=priced.commercial.premium.amount,
                )
            )  # fmt: skip
    return CounterOffer(steps=tuple(steps), to_standard=tuple(names) if reached else (), reachable=reached)


def _below_concentration(
    submission: Submission, base: Figures, fired: Sequence[rules.Fired]
) -> tuple[tuple[Cover, ...], list[str], bool]:
    """Covers with the largest sublimit at which one site's probable maximum loss no longer fires the rule.

    The last value is false where none of the tried ones does: then the smallest stands, and it is not enough.
    """
    threshold = next(item.threshold for item in fired if item.rule == "concentration")
    capacity = submission.authority.capacity
    assert capacity is not None  # the rule's fact is unknown without it, and did not fire
    covers, told = submission.covers, list[str]()
    for share in _SUBLIMITS:
        covers, told = with_sublimits(submission.covers, share)
        figures = Figures(replace(submission, covers=covers), base.fitted, base.book, like=base)
        if figures.site_pml()[1] / float(capacity) <= threshold:
            return covers, told, True
    return covers, told, False


def with_work_done(base: Figures, fitted: Fitted, after: Mapping[str, float]) -> Figures:
    """The figures once preventive work is done: each device's alarm multiplier is what the work leaves."""
    devices = tuple(replace(device, alarm=after.get(device.asset.asset_id, device.alarm)) for device in fitted.devices)
    classes = {
        name: replace(
            model,
            weighted_years=fitted.plan_hazard
            * math.fsum(
                device.years_in_force * device.relativity * device.alarm
                for device in devices
                if device.asset.device_class == name
            ),
        )
        for name, model in fitted.classes.items()
    }
    return Figures(base.submission, replace(fitted, devices=devices, classes=classes), base.book, like=base)


__all__ = ["BadSubmission", "CounterOffer", "Priced", "Step", "counter_offer", "options", "with_work_done"]
