"""When to speak: a level rule as data, and what a station's readings say against it.

`evaluate` is a function of the set of readings and the moment: their order, repetition and the batches they came in
make no difference. It never decides; `alerts.lifecycle` does.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf, isfinite
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import shapely
from shapely.geometry.base import BaseGeometry

from alerts.level import LEVELS, Level, level, level_of_stage
from core.errors import InvalidInput
from core.ids import derived_id
from core.units import quantity as known_quantity
from ingest.forecast.outlook import Outlook
from ingest.forecast.trigger import Trigger

#: QARTOD flags (IOOS QARTOD Project Plan 2.0, table of flags).
GOOD, NOT_EVALUATED, SUSPECT, FAILED, MISSING = 1, 2, 3, 4, 9

#: A reading whose clock runs further ahead than this is placed at the time it was received.
CLOCK_AHEAD = timedelta(seconds=120)
#: Before this no clock that was set can stand.
CLOCK_UNSET_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)


class BadRule(InvalidInput):
    """A rule's definition is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One stored reading, or a later version of it."""

    observed_at: datetime
    received_at: datetime
    value: float | None  #: in the stored unit of the quantity; none: the device said that it has no value
    quality: int  #: QARTOD flag
    revision: int = 0  #: counts corrections of the value
    flags_version: int = 0  #: counts later flags on that revision

    @property
    def at(self) -> datetime:
        """When it was true; the time of arrival where the device's clock is unset or runs ahead."""
        if self.observed_at < CLOCK_UNSET_BEFORE or self.observed_at - self.received_at > CLOCK_AHEAD:
            return self.received_at
        return self.observed_at

    @property
    def usable(self) -> bool:
        """False for failed and missing readings: they say nothing about the water."""
        return self.value is not None and self.quality in (GOOD, NOT_EVALUATED, SUSPECT)

    @property
    def suspect(self) -> bool:
        return self.quality == SUSPECT


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakingRule:
    """What every rule says about whom it warns, how, and who must agree; what it looks at stands in its kinds."""

    rule_id: UUID
    version: int
    tenant_id: UUID
    code: str
    expires_after: timedelta = timedelta(hours=6)
    automatic: bool = False  #: may be released without people, up to the ceiling
    automatic_ceiling: Level = Level.YELLOW
    independent: int = 1  #: this many stations without a common gateway, power or vendor agree, or people must
    usual_people: int | None = None  #: audience counted when the rule was set up; ten times it holds the draft
    max_area_km2: float = 50_000.0
    peril: str = "flood"
    timezone: str | None = None  #: IANA zone of the place, for the text; none: the tenant's
    place: Mapping[str, str] = field(default_factory=dict)  #: language -> name of the station, for the text
    source: Mapping[str, str] = field(default_factory=dict)  #: language -> who measures
    hazard_event_id: UUID | None = None
    group: str | None = None  #: rules of one group speak with one voice; none: those of one hazard and the same area

    @property
    def renew_before(self) -> timedelta:
        """How long before expiry a renewal is made: half the life, so that two people have time to release it."""
        return self.expires_after / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRule(SpeakingRule):
    """Thresholds of one datastream, and how sure and how patient to be about them."""

    datastream_id: int
    quantity: str
    thresholds: Mapping[Level, float]  #: value at or above which the level holds, in the stored unit; rises with level
    rise_per_h: Mapping[Level, float] = field(
        default_factory=dict
    )  #: a rise this fast raises the level too, unit an hour
    rise_window: timedelta = timedelta(minutes=30)  #: over which a rise is measured
    hysteresis: float = 0.0  #: how far below its threshold a level is given up, same unit
    clear_dwell: timedelta = timedelta(minutes=60)  #: how long readings stay below that before a level is given up
    raise_dwell: timedelta = timedelta(0)  #: how long readings stay at or above a level before it is raised
    k: int = 1  #: this many ...
    n: int = 1  #: ... of the last n usable readings at or above the level
    interval: timedelta = timedelta(minutes=10)  #: between readings; three without any is silence
    silence_intervals: int = 3
    late_after: timedelta = timedelta(minutes=30)  #: older readings never raise
    forecast_within: timedelta | None = (
        None  #: a forecast of a level within this raises it; none: levels are measured only
    )
    cost_loss: float | None = (
        None  #: chance at which warning pays (cost over loss); none: the shipped model's own trigger
    )

    def __post_init__(self) -> None:
        _check(self)

    @property
    def silence_after(self) -> timedelta:
        return self.interval * self.silence_intervals

    @property
    def lookback(self) -> timedelta:
        """How far back from the moment of decision readings matter."""
        return (
            self.rise_window
            + self.clear_dwell
            + self.raise_dwell
            + self.silence_after
            + self.late_after
            + self.interval * self.n
        )

    @property
    def outlook_lookback(self) -> timedelta:
        """How far back from the moment of decision forecasts matter: one made then may still hold a warning."""
        return 2 * self.forecast_within if self.forecast_within is not None else timedelta(0)


def group_key(rule: SpeakingRule, area: BaseGeometry | None) -> str | None:
    """What the rules of one voice have in common; None where nobody is warned, and so nobody has to agree."""
    if rule.group is not None:
        return f"{rule.tenant_id}:group:{rule.group}"
    if area is None:
        return None
    same = hashlib.sha256(shapely.normalize(area).wkb).hexdigest()[:32]
    return f"{rule.tenant_id}:{rule.peril}:{same}"


def check_speaking(rule: SpeakingRule) -> None:
    """Raises BadRule naming what is wrong in what every rule has."""

    def refuse(name: str, why: str, value: object) -> None:
        raise BadRule(f"Rule {rule.code!r}: {name} {why}", value=value)

    if not rule.code or len(rule.code) > 200:
        refuse("code", "must have 1 to 200 characters", rule.code)
    if rule.version < 1:
        refuse("version", "starts at 1", rule.version)
    if rule.expires_after <= timedelta(0):
        refuse("expires_after", "must be longer than nothing", rule.expires_after)
    if rule.independent not in range(1, 6):
        refuse("independent", "must be 1 to 5", rule.independent)
    if rule.usual_people is not None and rule.usual_people < 0:
        refuse("usual_people", "must not be negative", rule.usual_people)
    if not (isfinite(rule.max_area_km2) and rule.max_area_km2 > 0):
        refuse("max_area_km2", "must be positive", rule.max_area_km2)
    if rule.group is not None and not 1 <= len(rule.group) <= 200:
        refuse("group", "must have 1 to 200 characters", rule.group)
    if rule.timezone is not None:
        try:
            ZoneInfo(rule.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            refuse("timezone", "is not a known IANA zone", rule.timezone)


def _check(rule: LevelRule) -> None:
    def refuse(name: str, why: str, value: object) -> None:
        raise BadRule(f"Rule {rule.code!r}: {name} {why}", value=value)

    known_quantity(rule.quantity)
    check_speaking(rule)
    if not rule.thresholds:
        refuse("thresholds", "must name at least one level", {})
    if Level.NONE in rule.thresholds:
        refuse("thresholds", "cannot name the level 'none'", rule.thresholds)
    rising = [rule.thresholds[one] for one in LEVELS if one in rule.thresholds]
    if not all(isfinite(value) for value in rising):
        refuse("thresholds", "must be finite", rising)
    if any(low >= high for low, high in pairwise(rising)):
        refuse("thresholds", "must rise with the level", rising)
    unnamed = [one.word for one in rule.rise_per_h if one not in rule.thresholds]
    if unnamed:
        refuse("rise_per_h", "names a level that has no threshold", unnamed)
    if not all(isfinite(value) and value > 0 for value in rule.rise_per_h.values()):
        refuse("rise_per_h", "must be above zero", rule.rise_per_h)
    if not timedelta(minutes=1) <= rule.rise_window <= timedelta(hours=6):
        refuse("rise_window", "must be 1 minute to 6 hours", rule.rise_window)
    if not (isfinite(rule.hysteresis) and rule.hysteresis >= 0):
        refuse("hysteresis", "must not be negative", rule.hysteresis)
    if not 1 <= rule.k <= rule.n <= 100:
        refuse("k and n", "must satisfy 1 <= k <= n <= 100", (rule.k, rule.n))
    for name in ("clear_dwell", "raise_dwell"):
        if getattr(rule, name) < timedelta(0):
            refuse(name, "must not be negative", getattr(rule, name))
    for name in ("interval", "late_after"):
        if getattr(rule, name) <= timedelta(0):
            refuse(name, "must be longer than nothing", getattr(rule, name))
    if rule.silence_intervals < 1:
        refuse("silence_intervals", "must be at least 1", rule.silence_intervals)
    if rule.forecast_within is not None:
        if not timedelta(minutes=30) <= rule.forecast_within <= timedelta(hours=12):
            refuse("forecast_within", "must be 30 minutes to 12 hours", rule.forecast_within)
        if rule.quantity != "level":
            refuse("forecast_within", "is for water levels only: nothing else is forecast", rule.quantity)
    if rule.cost_loss is not None:
        if rule.forecast_within is None:
            refuse("cost_loss", "needs forecast_within", rule.cost_loss)
        if not (isfinite(rule.cost_loss) and 0 < rule.cost_loss < 1):
            refuse("cost_loss", "must lie between 0 and 1", rule.cost_loss)


def level_rule(
    *,
    tenant_id: UUID,
    code: str,
    datastream_id: int,
    thresholds: Mapping[str, float],
    quantity: str = "level",
    version: int = 1,
    **more: Any,
) -> LevelRule:
    """A rule from the words people use.

    `thresholds` names levels (`yellow`) or official stages (`alert`, `minor`, `major`); a stage without a level, blank
    or 0 in a station list, is left out by the caller. The rule's id is derived from tenant and code, so that saving
    the same rule twice is one rule. Other arguments are those of `LevelRule`.
    """
    named: dict[Level, float] = {}
    for name, value in thresholds.items():
        one = level(name) if name.upper() in Level.__members__ else level_of_stage(name)
        if one in named:
            raise BadRule(f"Rule {code!r}: thresholds name one level twice", level=one.word)
        named[one] = float(value)
    return LevelRule(
        rule_id=derived_id("rule", tenant_id, code),
        version=version,
        tenant_id=tenant_id,
        code=code,
        datastream_id=datastream_id,
        quantity=quantity,
        thresholds=named,
        **more,
    )


_DURATIONS = ("clear_dwell", "raise_dwell", "interval", "late_after", "expires_after")
_SPANS_OR_NONE = ("forecast_within", "rise_window")
#: Spans of time, which a definition holds in seconds under their name and `_s`.
SPANS = (*_DURATIONS, *_SPANS_OR_NONE)
PLAIN_FIELDS = (
    "quantity",
    "hysteresis",
    "k",
    "n",
    "silence_intervals",
    "automatic",
    "cost_loss",
    "independent",
    "usual_people",
    "max_area_km2",
    "peril",
    "timezone",
    "group",
)


def definition(rule: LevelRule) -> dict[str, Any]:
    """What the `rule.definition` column holds: everything but the keys that have columns."""
    plain: dict[str, Any] = {name: getattr(rule, name) for name in PLAIN_FIELDS}
    plain |= {f"{name}_s": getattr(rule, name).total_seconds() for name in _DURATIONS}
    if rule.rise_per_h:
        plain["rise_per_h"] = {one.word: value for one, value in sorted(rule.rise_per_h.items())}
    for name in _SPANS_OR_NONE:
        if name == "rise_window" and not rule.rise_per_h:
            continue
        span: timedelta | None = getattr(rule, name)
        if span is not None:  # what is not used is not written: older definitions stay the same
            plain[f"{name}_s"] = span.total_seconds()
    if rule.cost_loss is None:
        del plain["cost_loss"]
    if rule.independent == 1:
        del plain["independent"]
    if rule.group is None:
        del plain["group"]
    plain["thresholds"] = {one.word: value for one, value in sorted(rule.thresholds.items())}
    plain["automatic_ceiling"] = rule.automatic_ceiling.word
    plain["place"] = dict(rule.place)
    plain["source"] = dict(rule.source)
    plain["hazard_event_id"] = str(rule.hazard_event_id) if rule.hazard_event_id else None
    return plain


def from_definition(
    *, rule_id: UUID, version: int, tenant_id: UUID, code: str, datastream_id: int, definition: Mapping[str, Any]
) -> LevelRule:
    """The rule that `definition()` wrote down; raises BadRule naming a field that is unknown or wrong."""
    known = {*PLAIN_FIELDS, *(f"{name}_s" for name in SPANS)}
    known |= {"rise_per_h", "thresholds", "automatic_ceiling", "place", "source", "hazard_event_id"}
    unknown = sorted(set(definition) - known)
    if unknown:
        raise BadRule(f"Rule {code!r}: the definition has unknown fields", fields=unknown)
    given: dict[str, Any] = {name: definition[name] for name in PLAIN_FIELDS if name in definition}
    try:
        given |= {name: timedelta(seconds=definition[f"{name}_s"]) for name in SPANS if f"{name}_s" in definition}
        given["thresholds"] = {level(name): float(value) for name, value in definition["thresholds"].items()}
        if "rise_per_h" in definition:
            given["rise_per_h"] = {level(name): float(value) for name, value in definition["rise_per_h"].items()}
        if "automatic_ceiling" in definition:
            given["automatic_ceiling"] = level(definition["automatic_ceiling"])
        for name in ("place", "source"):
            given[name] = dict(definition.get(name) or {})
        if definition.get("hazard_event_id"):
            given["hazard_event_id"] = UUID(definition["hazard_event_id"])
        return LevelRule(
            rule_id=rule_id, version=version, tenant_id=tenant_id, code=code, datastream_id=datastream_id, **given
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadRule(f"Rule {code!r}: the definition cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the readings received up to `as_of` say about one rule."""

    rule: LevelRule
    as_of: datetime
    reached: Mapping[Level, datetime]  #: levels that fresh readings confirm, and the newest time each was confirmed
    waiting: Level  #: the newest reading touches this level but does not confirm it alone
    too_late: Mapping[Level, datetime]  #: levels that readings confirm which arrived too late to raise anything
    below_since: Mapping[Level, datetime]  #: start of the last unbroken run of good readings that give the level up
    newest_at: datetime | None  #: newest usable reading
    newest_good_at: datetime | None
    value: float | None  #: of the newest usable reading
    expected: Mapping[Level, datetime] = field(default_factory=dict)  #: levels that a fresh forecast expects
    #: levels that the newest forecast expects, whose age counts only when a newer reading has come
    foreseen: Mapping[Level, datetime] = field(default_factory=dict)
    rising: Mapping[Level, datetime] = field(
        default_factory=dict
    )  #: levels by rate of rise, and when it was last so fast

    @property
    def silent(self) -> bool:
        """No usable reading for `silence_after`: the water is unknown, which is never the same as low."""
        return self.newest_at is None or self.as_of - self.newest_at > self.rule.silence_after

    def gives_up(self, one: Level) -> bool:
        """True when readings have stayed below the level less its hysteresis for the whole dwell.

        Time counts from reading to reading: passing time without readings is no evidence, neither that the water is low
        nor that a forecast no longer holds. Whoever expects a higher level gives up no lower one.
        """
        if self.is_foreseen(one):
            return False
        fast = self.rising.get(one)
        if fast is not None and (self.newest_good_at is None or self.newest_good_at - fast < self.dwell):
            return False
        start = self.below_since.get(one)
        return start is not None and self.newest_good_at is not None and self.newest_good_at - start >= self.dwell

    def is_foreseen(self, one: Level) -> bool:
        """Whether a forecast that still holds expects this level or a higher one."""
        return any(level >= one for level in self.foreseen)

    @property
    def dwell(self) -> timedelta:
        return self.rule.clear_dwell


def newest_versions(readings: Iterable[Reading], as_of: datetime) -> list[Reading]:
    """Each reading once, in its newest version received by `as_of`, in time order."""
    newest: dict[datetime, Reading] = {}
    for reading in readings:
        if reading.received_at > as_of:
            continue
        other = newest.get(reading.observed_at)
        if other is None or (reading.revision, reading.flags_version, reading.received_at) > (
            other.revision,
            other.flags_version,
            other.received_at,
        ):
            newest[reading.observed_at] = reading
    return sorted(newest.values(), key=lambda reading: (reading.at, reading.observed_at))


def evaluate(rule: LevelRule, readings: Iterable[Reading], now: datetime, outlooks: Iterable[Outlook] = ()) -> Finding:
    """What the readings and forecasts known by `now` say: which levels are reached, expected, awaited, or given up.

    A suspect reading confirms a level only together with its neighbour in time; two suspect readings of exactly the
    same value do not confirm each other (a stuck sensor repeats itself). Failed and missing readings say nothing.
    """
    usable = [one for one in newest_versions(readings, now) if one.usable and one.at >= now - rule.lookback]
    reached: dict[Level, datetime] = {}
    too_late: dict[Level, datetime] = {}
    below_since: dict[Level, datetime] = {}
    waiting = Level.NONE
    good = [one for one in usable if not one.suspect]
    for one, threshold in sorted(rule.thresholds.items()):
        confirmed = _confirmations(rule, usable, threshold)
        fresh = [reading.at for reading in confirmed if now - reading.at <= rule.late_after]
        late = [reading.at for reading in confirmed if reading.received_at - reading.at > rule.late_after]
        if fresh:
            reached[one] = max(fresh)
        if late:
            too_late[one] = max(late)
        newest = usable[-1] if usable else None
        if (
            newest is not None
            and newest.value is not None
            and newest.value >= threshold
            and newest not in confirmed
            and now - newest.at <= rule.late_after
        ):
            waiting = one
        start = _below_since(rule, usable, threshold - rule.hysteresis)
        if start is not None:
            below_since[one] = start
    newest_at = usable[-1].at if usable else None
    foreseen = _foreseen(rule, outlooks, now)
    limit = max(rule.late_after, rule.interval)
    return Finding(
        rule=rule,
        as_of=now,
        reached=reached,
        waiting=waiting,
        too_late=too_late,
        below_since=below_since,
        newest_at=newest_at,
        newest_good_at=good[-1].at if good else None,
        value=usable[-1].value if usable else None,
        expected={one: made_at for one, made_at in foreseen.items() if now - made_at <= limit},
        foreseen={
            one: made_at for one, made_at in foreseen.items() if newest_at is None or newest_at - made_at <= limit
        },
        rising=_rising(rule, good),
    )


def _rising(rule: LevelRule, good: Sequence[Reading]) -> dict[Level, datetime]:
    """Levels that the rate of rise reaches, and when it last did.

    The rate is over the span to the oldest good reading in the window, which has to cover half of it; two good readings
    in a row must show it, since a sensor that jumps once also rises fast. Suspect readings count for nothing here.
    """
    rising: dict[Level, datetime] = {}
    if not rule.rise_per_h:
        return rising
    rates: list[float] = []
    first = 0
    for reading in good:
        while reading.at - good[first].at > rule.rise_window:
            first += 1
        span = reading.at - good[first].at
        assert reading.value is not None
        base = good[first].value
        assert base is not None
        fast = -inf if span < rule.rise_window / 2 else (reading.value - base) / (span.total_seconds() / 3600.0)
        rates.append(fast)
        if len(rates) < 2:
            continue
        for one, limit in rule.rise_per_h.items():
            if min(rates[-2:]) >= limit:
                rising[one] = reading.at
    return rising


def _foreseen(rule: LevelRule, outlooks: Iterable[Outlook], now: datetime) -> dict[Level, datetime]:
    """The levels that forecasts expect within the rule's span, and when the newest forecast was made, however old.

    By the shipped model's trigger, or where the chance reaches cost over loss (and stands down to half of it); k of the
    last n forecasts agree, the newest among them.
    """
    if rule.forecast_within is None:
        return {}
    within_h = rule.forecast_within.total_seconds() / 3600.0
    since = now - rule.outlook_lookback
    told = sorted(
        (one for one in outlooks if one.known_at <= now and one.made_at >= since), key=lambda one: one.made_at
    )
    if not told:
        return {}
    foreseen: dict[Level, datetime] = {}
    for one, threshold in sorted(rule.thresholds.items()):
        trigger = Trigger(threshold, within_h)
        says: list[bool] = []
        for seen in told:
            top, reach = seen.top(within_h), seen.top_reach(within_h)
            if rule.cost_loss is not None:
                chance = seen.chance(threshold, within_h)
                top = threshold if chance >= rule.cost_loss else -inf
                reach = threshold if chance >= rule.cost_loss / 2 else -inf
            says.append(trigger.step(seen.made_at.timestamp(), seen.value, top, reach))
        if says[-1] and sum(says[-rule.n :]) >= rule.k:
            foreseen[one] = told[-1].made_at
    return foreseen


def _confirmations(rule: LevelRule, usable: Sequence[Reading], threshold: float) -> list[Reading]:
    """The readings at which the level is confirmed: k of n, dwell, and no suspect reading alone."""
    confirmed: list[Reading] = []
    above: list[bool] = []
    run_start: datetime | None = None
    for index, reading in enumerate(usable):
        assert reading.value is not None
        above.append(reading.value >= threshold)
        if not above[-1]:
            run_start = None
            continue
        run_start = run_start or reading.at
        if sum(above[-rule.n :]) < rule.k or reading.at - run_start < rule.raise_dwell:
            continue
        if reading.suspect:
            before = usable[index - 1] if index and above[index - 1] else None
            if before is None or (before.suspect and before.value == reading.value):
                continue
        confirmed.append(reading)
    return confirmed


def _below_since(rule: LevelRule, usable: Sequence[Reading], bound: float) -> datetime | None:
    """Start of the run of good readings below `bound` that lasts until the newest reading, or None.

    A suspect reading at or above the bound breaks the run, a suspect reading below it neither breaks nor begins it;
    so does a silence inside the run break it.
    """
    start: datetime | None = None
    last: datetime | None = None
    for reading in usable:
        assert reading.value is not None
        if reading.value >= bound:
            start = last = None
            continue
        if last is not None and reading.at - last > rule.silence_after:
            start = None
        last = reading.at
        if start is None and not reading.suspect:
            start = reading.at
    return start
