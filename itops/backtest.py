"""Judges fits of a fleet or of repairs by what came after them, from rolling origins: the verb of `tocsin backtest`."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from core.errors import InvalidInput
from itops import experience, records, regime, restoration, score
from itops.repair import fit_repairs, price_layer
from itops.severity import FloatArray
from itops.table import read_rows
from itops.underwrite import load_priors

#: Waiting periods at which limited expected values are compared, and the indemnity period after them, hours.
WAITING_H, INDEMNITY_H = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0), 64.0
#: The randomised PIT is drawn with this seed, so that a report is the same each time.
SEED = 20260101


class NothingToJudge(InvalidInput):
    """No origin leaves both a record to fit and failures to judge it by."""


def year_ends(first: date, last: date) -> list[date]:
    """31 December of each year that has a year of record before it and a whole one after it.

    A quiet fortnight at the end of a record does not make its last year a broken one.
    """
    known = last + timedelta(days=14)
    return [
        date(y, 12, 31)
        for y in range(first.year, last.year + 1)
        if date(y, 12, 31) - first >= timedelta(days=365) and date(y + 1, 12, 31) <= known
    ]


def half_year_ends(first: date, last: date) -> list[date]:
    """Ends of half-years with a year of record before and a half-year after them."""
    every = [date(y, m, d) for y in range(first.year, last.year + 1) for m, d in ((6, 30), (12, 31))]
    return [each for each in every if each - first >= timedelta(days=365) and last - each >= timedelta(days=180)]


def fleet(events: str, exposure: str, origins: Sequence[date] | None, told: Any = None) -> dict[str, Any]:
    """Each origin's fit judged by what came after: systems by the next year, start-stop rows by all that begin later.

    `told` is called with each origin before it is fitted. Raises NothingToJudge.
    """
    shape = records.shape_of(exposure)
    judge = {"systems": _systems, "spells": _spells}.get(shape)
    if judge is None:
        raise NothingToJudge("Counts by model have no dates: fit one period and predict the next instead", shape=shape)
    made = list(judge(events, exposure, origins, told))
    if not made:
        raise NothingToJudge
    return {"kind": "fleet", "shape": shape, "origins": made}


def _judged(
    origin: date, n: FloatArray, mean: FloatArray, cv2: FloatArray, exposure: FloatArray, segment: Sequence[str]
) -> dict[str, Any]:
    """The pack of one origin; `cv2` (n,) is that of each unit's mean, and its median bands the segments."""
    common = float(np.median(cv2[mean > 0])) if np.any(mean > 0) else 0.0
    names = sorted(set(segment))
    of = np.array(segment)
    rng = np.random.default_rng(SEED)
    pit = score.randomised_pit(n, mean, cv2, rng)
    bands = [
        score.actual_to_expected(name, float(np.sum(n[of == name])), float(np.sum(mean[of == name])), common)
        for name in names
    ]
    out: dict[str, Any] = {
        "origin": origin.isoformat(),
        "total": asdict(score.actual_to_expected("all", float(np.sum(n)), float(np.sum(mean)), common)),
        "segments": [asdict(each) for each in bands],
        "tenths": [asdict(each) for each in score.tenths(n, mean, exposure)],
        "crps_mean": _crps(n, mean, cv2),
        "poisson_deviance": score.poisson_deviance(n, mean),
        "pit_histogram": np.histogram(pit, bins=10, range=(0.0, 1.0))[0].tolist(),
    }
    out["gini"] = score.gini(n, mean, exposure) if np.sum(n) > 0 else None
    size = 1.0 / np.maximum(cv2, 1e-9)
    from scipy import stats

    limit = stats.nbinom.ppf(0.95, size, size / (size + mean))
    some = mean >= 1.0  # a 95 % point of a rare count is 0 or 1 and is passed far more rarely than 5 %
    out["kupiec_95"] = asdict(score.kupiec(n[some] > limit[some], 0.95)) if np.any(some) else None
    return out


def _crps(n: FloatArray, mean: FloatArray, cv2: FloatArray) -> float:
    """Mean CRPS; of many like units each distinct forecast is summed once."""
    if len(n) <= 2000:
        return float(np.mean(score.crps_counts(n, mean, cv2)))
    key = np.round(np.log(np.maximum(mean, 1e-12)), 2)
    pairs, back = np.unique(np.column_stack([n, key, np.round(cv2, 4)]), axis=0, return_inverse=True)
    each = score.crps_counts(pairs[:, 0], np.exp(pairs[:, 1]), pairs[:, 2])
    return float(np.mean(each[np.ravel(back)]))


def _systems(events: str, exposure: str, origins: Sequence[date] | None, told: Any) -> Iterable[dict[str, Any]]:
    systems = records.read_systems(exposure)
    failures = records.read_failures(events, systems)
    if not failures:
        raise NothingToJudge("The events file has no failure")
    first, last = failures[0][1].date(), failures[-1][1].date()
    for origin in origins or year_ends(first, last):
        if told:
            told(origin)
        until = origin + timedelta(days=365)
        known = records.panel_of(systems, failures, origin)
        if not np.any(known.n_failures > 0):
            continue
        model = experience.fit(events, exposure, origin)
        later = records.panel_of(systems, failures, until)
        exposed = np.sum(later.exposure[:, -round(1 / regime.STEP_YEARS) :], axis=1)
        here = [u for u in range(len(systems)) if exposed[u] > 0 and systems[u].system in model["units"]]
        if not here:
            continue
        window = [name for name, at in failures if origin < at.date() <= until]
        n = np.array([float(window.count(systems[u].system)) for u in here])
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        writer.writerow(("system", "nodes", "node_years"))
        writer.writerows((systems[u].system, systems[u].nodes, exposed[u]) for u in here)
        made = experience.predict(model, rows.getvalue())
        mean = np.array([each["expected"] for each in made])
        low, high = (np.array([each[name] for each in made]) for name in ("p05", "p95"))
        cv2 = np.array([_cv2(model, systems[u].system, exposed[u] / systems[u].nodes) for u in here])
        yield {
            **_judged(origin, n, mean, cv2, exposed[here], [systems[u].group for u in here]),
            "inside_90": int(np.count_nonzero((n >= low) & (n <= high))),
            "n_units": len(here),
            "units": [
                {"unit": systems[u].system, "n_actual": int(n[k]), "expected": float(mean[k]),
                 "p05": int(low[k]), "p95": int(high[k])}
                for k, u in enumerate(here)
            ],
        }  # fmt: skip


def _cv2(model: dict[str, Any], system: str, horizon: float) -> float:
    known = model["units"][system]
    law = regime.predict(
        known["log_rate"], known["variance"], regime.Spreads(**model["spreads"]), 1.0, float(horizon), new=False
    )
    return float(np.expm1(law.log_variance))


def _spells(events: str, exposure: str, origins: Sequence[date] | None, told: Any) -> Iterable[dict[str, Any]]:
    found = read_rows(exposure, table="exposure", required=("cal_start",), optional=())
    if not found.rows:
        raise NothingToJudge("The exposure file has no row")
    days = [row.cells["cal_start"][:10] for row in found.rows]
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    header, *lines = [line for line in exposure.removeprefix("\ufeff").splitlines() if line.strip()]
    for origin in origins or half_year_ends(first, last):
        if told:
            told(origin)
        until = (origin + timedelta(days=1)).isoformat()
        later = "\n".join([header, *(line for line, day in zip(lines, days, strict=True) if day >= until)])
        spells, _, _, _ = records.read_spells(later, as_of=None, failures=True)
        if not np.any(spells.failed):
            continue
        model = experience.fit(events, exposure, origin)
        made = experience.predict(model, later)
        mean, w = (np.array([each[name] for each in made]) for name in ("expected", "exposure"))
        n = spells.failed.astype(np.float64) * spells.weight
        cv2 = np.full(len(n), model["regime_cv"] ** 2)
        yield _judged(origin, n, mean, cv2, w, spells.manufacturer)


def repairs(
    text: str, origins: Sequence[date] | None, waiting_h: Sequence[float] = WAITING_H, told: Any = None
) -> dict[str, Any]:
    """Each origin's repair fit judged by the year after it: LEV ratio at each waiting period. Raises NothingToJudge."""
    found, left = restoration.read_repairs(text)
    if not found:
        raise NothingToJudge
    first, last = found[0].opened.date(), found[-1].opened.date()
    prior = load_priors()[0].repair["default"].law
    out = []
    for origin in origins or year_ends(first, last):
        begin = datetime.combine(origin + timedelta(days=1), datetime.min.time())
        end = begin + timedelta(days=365)
        seen = np.array([
            (each.restored - each.opened).total_seconds() / 3600.0
            for each in found
            if begin <= each.opened < end and each.restored is not None
        ])  # fmt: skip
        if sum(each.opened < begin for each in found) < 10 or len(seen) < 10:
            continue
        if told:
            told(origin)
        fitted = fit_repairs([each for each in found if each.opened < begin], begin)
        rows = []
        for waiting in waiting_h:
            layer = price_layer(fitted, prior, waiting, INDEMNITY_H, n_draws=100)
            fact = float(np.mean(np.clip(seen - waiting, 0.0, INDEMNITY_H)))
            rows.append({
                "waiting_h": waiting, "indemnity_h": INDEMNITY_H, "seen_hours": fact,
                "expected_hours": layer.expected_hours, "p05": layer.p05, "p95": layer.p95,
                "lev_ratio": layer.expected_hours / fact if fact > 0 else None,
                "p_above_seen": float(np.mean(seen > waiting)), "p_above": layer.p_above,
                "inside": layer.p05 <= fact <= layer.p95,
            })  # fmt: skip
        out.append({"origin": origin.isoformat(), "n_repairs": len(seen), "layers": rows})
    if not out:
        raise NothingToJudge
    return {"kind": "repairs", "n_left_out": left, "origins": out}
