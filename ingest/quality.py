"""Quality control of a series of readings: gross range, spike, rate of change, flat line, gap.

Tests and flags are QARTOD's (IOOS, 2020; flags 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing). Each test is a
pure function of a time-ordered series without doubles; its flags equal those of `ioos_qc` 3.0 for the same thresholds
(tests/unit/ingest/test_quality_oracle.py). Many series lie one behind the other in the same arrays, told apart by
where each begins, so that one pass checks a whole batch.

The flat-line test has a second, adaptive form, which is the default for levels: see `stuck_runs`. A rate of change or
a spike never makes more than *suspect*: a real flash flood rises more than 2 m in ten minutes.
Method page: docs/methods/quality.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from core.units import quantity
from ingest.observation import Check, Quality

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FlagArray = npt.NDArray[np.uint8]

GOOD, UNKNOWN, SUSPECT, FAIL, MISSING = (
    np.uint8(Quality.GOOD),
    np.uint8(Quality.UNKNOWN),
    np.uint8(Quality.SUSPECT),
    np.uint8(Quality.FAIL),
    np.uint8(Quality.MISSING),
)

#: Steps before a run that say how often this series repeats its last value.
STUCK_CONTEXT = 48


class BadThresholds(InvalidInput):
    """These quality-control thresholds cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What quality control takes for possible at one datastream; all in the stored unit of its quantity.

    None switches a test (or its suspect or fail half) off; its flag is then 2, not evaluated.
    """

    fail_below: float | None = None  #: gross range
    fail_above: float | None = None
    suspect_below: float | None = None
    suspect_above: float | None = None
    spike: float | None = None  #: the smaller of both steps, where they point opposite ways, must not exceed this
    provisional_step: float | None = None  #: a step larger than this waits for the next reading before it counts
    rate_per_s: float | None = None
    flat_suspect_s: float | None = None  #: seconds within `flat_tolerance`
    flat_fail_s: float | None = None
    flat_tolerance: float = 1e-9
    stuck_p: float | None = None  #: adaptive flat line: suspect when a run is less likely than this
    stuck_min_readings: int = 5
    stuck_max_repeat: float = 0.5  #: not evaluated where the series repeats itself more often than this
    gap_s: float | None = None

    def __post_init__(self) -> None:
        for low, high in (("fail_below", "suspect_below"), ("suspect_above", "fail_above")):
            a, b = getattr(self, low), getattr(self, high)
            if a is not None and b is not None and a > b:
                raise BadThresholds("The suspect range must lie within the fail range.", lower=low, upper=high)
        for name in ("spike", "provisional_step", "rate_per_s", "flat_suspect_s", "flat_fail_s", "gap_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadThresholds("This threshold must be above 0.", name=name, value=value)
        if self.stuck_p is not None and not 0 < self.stuck_p < 1:
            raise BadThresholds("stuck_p is a probability.", value=self.stuck_p)
        if self.stuck_min_readings < 3:
            raise BadThresholds("stuck_min_readings must be 3 or more.", value=self.stuck_min_readings)
        if not 0 < self.stuck_max_repeat < 1:
            raise BadThresholds("stuck_max_repeat is a share.", value=self.stuck_max_repeat)

    @classmethod
    def for_quantity(
        cls, name: str, *, interval_s: float, overrides: Mapping[str, object] | None = None
    ) -> "Thresholds":
        """Defaults for a quantity, with a datastream's own values over them; raises BadThresholds, UnknownQuantity."""
        q = quantity(name)
        given: dict[str, object] = {"fail_below": q.lowest, "fail_above": q.highest, "gap_s": 2.5 * interval_s}
        given |= _DEFAULTS.get(name, {})
        known = {f.name: f for f in fields(cls)}
        for key, value in (overrides or {}).items():
            if key not in known:
                raise BadThresholds("There is no such threshold.", name=key, known=sorted(known))
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise BadThresholds("A threshold is a number or null.", name=key, value=value)
            given[key] = value
        return replace(cls(), **given)  # type: ignore[arg-type]


#: Defaults that hold for instruments of a kind, wherever they stand; a datastream's own thresholds go over them.
#: level: few rivers rise and fall back 1.5 m within one reading; 0.03 m/s is 18 m in ten minutes, so that only a step
#: that no water makes counts, and not the way back from a spike of 8 m.
_DEFAULTS: dict[str, dict[str, object]] = {
    "level": {"spike": 1.5, "provisional_step": 3.0, "rate_per_s": 0.03, "stuck_p": 0.01},
    "discharge": {"stuck_p": 0.01},
    "rain": {},
    "rain_rate": {},
    "wind_speed": {"spike": 25.0, "provisional_step": 30.0, "stuck_p": 0.01},
    "temperature": {"spike": 8.0, "provisional_step": 12.0, "rate_per_s": 0.05},
    "pressure": {"spike": 8.0, "provisional_step": 15.0, "rate_per_s": 0.05},
    "humidity": {"spike": 40.0},
    "battery": {},
    "device_temperature": {"spike": 30.0},
}


def _begins(n: int, starts: IntArray | None) -> BoolArray:
    first = np.zeros(n, dtype=bool)
    if n:
        first[0 if starts is None else starts] = True
        first[0] = True
    return first


def gross_range(
    values: FloatArray,
    *,
    fail_below: FloatArray | float,
    fail_above: FloatArray | float,
    suspect_below: FloatArray | float = -np.inf,
    suspect_above: FloatArray | float = np.inf,
) -> FlagArray:
    """QARTOD test 4. (n,) flags: 4 outside the fail range, 3 outside the suspect range, 9 where NaN, else 1."""
    with np.errstate(invalid="ignore"):
        flags = np.ones(values.shape, dtype=np.uint8)
        flags[(values < suspect_below) | (values > suspect_above)] = SUSPECT
        flags[(values < fail_below) | (values > fail_above)] = FAIL
    flags[np.isnan(values)] = MISSING
    return flags


def spike(
    values: FloatArray, *, suspect: FloatArray | float, starts: IntArray | None = None, method: str = "differential"
) -> FlagArray:
    """QARTOD test 6. (n,) flags: 3 for a spike, 2 where a neighbour is missing or there is none, 9 where NaN, else 1.

    differential: both steps point opposite ways and the smaller exceeds `suspect`. average: the distance to the mean
    of both neighbours exceeds it.
    """
    n = len(values)
    flags = np.full(n, UNKNOWN, dtype=np.uint8)
    if n > 2:
        before, here, after = values[:-2], values[1:-1], values[2:]
        with np.errstate(invalid="ignore"):
            if method == "differential":
                rise, fall = here - before, after - here
                size = np.minimum(np.abs(rise), np.abs(fall))
                size[rise * fall >= 0] = 0.0
            elif method == "average":
                size = np.abs(here - (before + after) / 2)
            else:
                raise BadThresholds("The spike test knows differential and average.", method=method)
            threshold = suspect[1:-1] if isinstance(suspect, np.ndarray) else suspect
            inner = np.where(size > threshold, SUSPECT, GOOD)
        inner[np.isnan(before) | np.isnan(after) | np.isnan(threshold)] = UNKNOWN
        flags[1:-1] = inner
        first = _begins(n, starts)
        flags[first] = UNKNOWN
        flags[:-1][first[1:]] = UNKNOWN  # the last of each series
    flags[np.isnan(values)] = MISSING
    return flags


def rate_of_change(
    times_s: FloatArray, values: FloatArray, *, suspect_per_s: FloatArray | float, starts: IntArray | None = None
) -> FlagArray:
    """QARTOD test 7. (n,) flags: 3 where |step| / seconds exceeds the threshold, 9 where NaN, else 1."""
    n = len(values)
    flags = np.ones(n, dtype=np.uint8)
    if n > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.abs(np.diff(values) / np.diff(times_s))
            threshold = suspect_per_s[1:] if isinstance(suspect_per_s, np.ndarray) else suspect_per_s
            fast = rate > threshold
        fast[_begins(n, starts)[1:]] = False
        flags[1:][fast] = SUSPECT
    flags[np.isnan(values)] = MISSING
    return flags


def flat_line(
    values: FloatArray, *, n_suspect: int, n_fail: int | None, tolerance: float, n_before: IntArray | None = None
) -> FlagArray:
    """QARTOD test 8 for one series. (n,) flags: 3 (4) where the last `n_suspect` (`n_fail`) + 1 readings span less
    than `tolerance`, 9 where NaN, else 1. Missing readings count for the window's length, not for its span.

    `n_suspect` is the threshold in seconds over the reading interval, rounded down. `n_before`: readings of the same
    series before each reading, where several series lie in `values`.
    """
    n = len(values)
    flags = np.ones(n, dtype=np.uint8)
    if n == 0:
        return flags
    from scipy.ndimage import maximum_filter1d, minimum_filter1d  # heavy, and needed for fixed thresholds only

    before = np.arange(n) if n_before is None else n_before
    missing = np.isnan(values)
    for count, flag in ((n_suspect, SUSPECT), (n_fail, FAIL)):
        if count is None or count >= n:
            continue
        size = count + 1
        # A filter of `size` whose window ends at each reading: the origin shifts it back by half of itself.
        origin = (size - 1) // 2 if size % 2 else size // 2 - 1
        low = minimum_filter1d(np.where(missing, np.inf, values), size, origin=origin, mode="nearest")
        high = maximum_filter1d(np.where(missing, -np.inf, values), size, origin=origin, mode="nearest")
        with np.errstate(invalid="ignore"):
            flags[((high - low) < tolerance) & np.isfinite(low) & (before >= count)] = flag
    flags[missing] = MISSING
    return flags


def time_gap(times_s: FloatArray, *, gap_s: FloatArray | float, starts: IntArray | None = None) -> FlagArray:
    """QARTOD test 1. (n,) flags: 4 where the time since the reading before exceeds `gap_s`, else 1 (the first too).

    It speaks of the series, not of the reading: it never counts towards a reading's quality.
    """
    n = len(times_s)
    flags = np.ones(n, dtype=np.uint8)
    if n > 1:
        threshold = gap_s[1:] if isinstance(gap_s, np.ndarray) else gap_s
        with np.errstate(invalid="ignore"):
            late = np.diff(times_s) > threshold
        late[_begins(n, starts)[1:]] = False
        flags[1:][late] = FAIL
    return flags


@dataclass(frozen=True, slots=True)
class Runs:
    """Where each reading stands in its run of equal values. (n,) each.

    length : values of the run up to and with this one; a missing reading carries the one before (0: none before)
    repeat : how often the series repeated itself in the steps before the run, in (0, 1); NaN where that is not known
    """

    length: IntArray
    repeat: FloatArray


def stuck_runs(
    values: FloatArray,
    *,
    starts: IntArray,
    stuck_p: FloatArray,
    min_readings: FloatArray,
    max_repeat: FloatArray,
    known: Runs | None = None,
    cut: BoolArray | None = None,
    was_stuck: BoolArray | None = None,
) -> tuple[FlagArray, Runs]:
    """Adaptive flat line: runs of equal values that this series, as it moved just before, would hardly show.

    With k repeats among the m <= 48 steps before a run, the chance that a step repeats the value is taken as
    p = (k + 1) / (m + 3), the mean of a Beta(1, 2) prior after k of m, and a run of L values has the chance
    p^(L - 1). Where that falls below `stuck_p` and L >= `min_readings`, all values of the run but the first are
    suspect: the first one was measured. A gauge at base flow repeats itself for days: where p exceeds `max_repeat`, or
    m is below 8, a stuck sensor cannot be told from a quiet river and the flag is 2, not evaluated.

    Parameters
    ----------
    values : (n,) pieces of several series one behind the other; NaN where missing, which neither ends nor lengthens a
        run
    starts : (m,) where each piece begins
    stuck_p, min_readings, max_repeat : (n,) thresholds of each reading's series; NaN in stuck_p: not evaluated
    known : (n,) what earlier calls said of readings that come again as context; length 0 and NaN elsewhere
    cut : (m,) the piece is not the beginning of its series, so that runs near its start cannot be judged anew
    was_stuck : (n,) earlier verdicts, which stand for such runs

    Returns
    -------
    flags : (n,) 1, 2, 3 or 9
    runs : (n,)
    """
    n = len(values)
    missing = np.isnan(values)
    flags = np.where(missing, MISSING, GOOD).astype(np.uint8)
    length = np.zeros(n, dtype=np.int64)
    repeat = np.full(n, np.nan)
    here = np.flatnonzero(~missing)
    if len(here) == 0:
        return flags, Runs(length, repeat)
    first = _begins(n, starts)
    piece = np.cumsum(first) - 1

    v, s = values[here], piece[here]
    new_piece = np.r_[True, s[1:] != s[:-1]]
    same = np.r_[False, v[1:] == v[:-1]] & ~new_piece
    run = np.cumsum(~same) - 1
    at = np.flatnonzero(~same)  # where each run starts, among the readings that have a value
    # Where its piece starts; a piece without any value is not among the readings, so that pieces are counted anew.
    begin = np.flatnonzero(new_piece)[(np.cumsum(new_piece) - 1)[at]]
    repeats = np.cumsum(same)
    oldest = np.maximum(begin, at - STUCK_CONTEXT)
    newest = np.maximum(at - 1, 0)
    k = np.where(at > begin, repeats[newest] - repeats[oldest], 0)
    m = at - oldest  # the step that began the run moved, so it is one of them
    p = (k + 1.0) / (m + 3.0)
    judged = m >= _STUCK_MIN_STEPS
    carried = np.zeros(len(at), dtype=np.int64)
    stands = np.zeros(len(at), dtype=bool)
    source = here[at]
    if known is not None:
        told = ~np.isnan(known.repeat[source])
        p = np.where(told, known.repeat[source], p)
        judged |= told
        carried = np.where((at == begin) & told, np.maximum(known.length[source] - 1, 0), 0)
    else:
        told = np.zeros(len(at), dtype=bool)
    if cut is not None:
        stands = cut[s[at]] & (m < STUCK_CONTEXT) & ~told
        judged &= ~stands
    length[here] = np.arange(len(here)) - at[run] + 1 + carried[run]
    repeat[here] = np.where(judged, p, np.nan)[run]

    chance = stuck_p[source]
    with np.errstate(invalid="ignore", divide="ignore"):
        enough = np.maximum(min_readings[source], 1 + np.log(chance) / np.log(p))
        judged &= (p <= max_repeat[source]) & ~np.isnan(chance)
    stuck = judged & (np.bincount(run) + carried >= enough)
    if was_stuck is not None:
        stuck |= stands & ~np.isnan(chance) & (np.bincount(run, weights=was_stuck[here]) > 0)
    flags[here[~judged[run]]] = UNKNOWN
    flags[here[stuck[run] & (length[here] > 1)]] = SUSPECT

    holes = np.flatnonzero(missing)
    if len(holes):
        nearest = np.maximum.accumulate(np.where(missing, -1, np.arange(n)))[holes]
        inside = nearest >= np.flatnonzero(first)[piece[holes]]
        length[holes] = np.where(inside, length[np.maximum(nearest, 0)], 0)
        repeat[holes] = np.where(inside, repeat[np.maximum(nearest, 0)], np.nan)
    return flags, Runs(length, repeat)


#: Fewer steps than this say nothing about how a series moves.
_STUCK_MIN_STEPS = 8


@dataclass(frozen=True, slots=True)
class Flags:
    """What all tests say of each reading. (n,) each."""

    quality: FlagArray
    tests: IntArray  #: Check bits


def combine(
    values: FloatArray,
    *,
    gross: FlagArray,
    spikes: FlagArray,
    rate: FlagArray,
    flat: FlagArray,
    stuck: FlagArray,
    gap: FlagArray,
) -> Flags:
    """One quality a reading: 9 where it is missing, else the worst of 4 > 3 > 1 (a gap does not count)."""
    worst = np.maximum(gross, 1)
    tests = np.zeros(len(values), dtype=np.int64)
    for flags, bit in (
        (gross, Check.GROSS_RANGE),
        (spikes, Check.SPIKE),
        (rate, Check.RATE),
        (flat, Check.FLAT_LINE),
        (stuck, Check.FLAT_LINE),
    ):
        bad = (flags == SUSPECT) | (flags == FAIL)
        tests[bad] |= int(bit)
        worst = np.where(bad, np.maximum(worst, flags), worst)
    tests[gap == FAIL] |= int(Check.GAP)
    missing = np.isnan(values)
    tests[missing] &= int(Check.GAP)
    return Flags(np.where(missing, MISSING, worst).astype(np.uint8), tests)


def check_series(
    times_s: FloatArray, values: FloatArray, thresholds: Thresholds, *, interval_s: float | None = None
) -> Flags:
    """Final flags of one whole series.

    Parameters
    ----------
    times_s : (n,) seconds, strictly rising
    values : (n,) in the stored unit; NaN where missing
    interval_s : the reading interval that turns the flat-line seconds into readings; none: the series' median step
    """
    n = len(values)
    if n and not np.all(np.diff(times_s) > 0):
        raise BadThresholds("A series must be sorted by time and have no doubles.")
    none = np.full(n, UNKNOWN, dtype=np.uint8)
    th = thresholds
    if interval_s is None:
        interval_s = float(np.median(np.diff(times_s))) if n > 1 else 1.0
    flat = none
    if th.flat_suspect_s is not None:
        flat = flat_line(
            values,
            n_suspect=int(th.flat_suspect_s / interval_s),
            n_fail=None if th.flat_fail_s is None else int(th.flat_fail_s / interval_s),
            tolerance=th.flat_tolerance,
        )
    stuck = none
    if th.stuck_p is not None:
        stuck, _ = stuck_runs(
            values,
            starts=np.zeros(1, dtype=np.int64),
            stuck_p=np.full(n, th.stuck_p),
            min_readings=np.full(n, float(th.stuck_min_readings)),
            max_repeat=np.full(n, th.stuck_max_repeat),
        )
    return combine(
        values,
        gross=gross_range(
            values,
            fail_below=-np.inf if th.fail_below is None else th.fail_below,
            fail_above=np.inf if th.fail_above is None else th.fail_above,
            suspect_below=-np.inf if th.suspect_below is None else th.suspect_below,
            suspect_above=np.inf if th.suspect_above is None else th.suspect_above,
        ),
        spikes=none if th.spike is None else spike(values, suspect=th.spike),
        rate=none if th.rate_per_s is None else rate_of_change(times_s, values, suspect_per_s=th.rate_per_s),
        flat=flat,
        stuck=stuck,
        gap=none if th.gap_s is None else time_gap(times_s, gap_s=th.gap_s),
    )
