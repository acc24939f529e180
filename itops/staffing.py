"""Reads an incident log and forecasts its volume for staffing: the verb of `tocsin staff`."""

import logging
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from itops import volume
from itops.records import Refusals, read_time
from itops.severity import FloatArray
from itops.table import BadRow, BadTable, read_rows
from itops.volume import Comparison, Daily

#: Columns that hold the opening of an incident, in this order of preference; one incident is counted once.
OPENED = ("opened", "opened_at", "t_Open_Time", "started")
IDENTITY = ("incident_id", "number")


def read_days(text: str, *, table: str = "incidents") -> list[date]:
    """The day on which each incident was opened. Raises BadTable."""
    header = [name.strip() for name in text.removeprefix("\ufeff").split("\n", 1)[0].split(",")]
    column = next((name for name in OPENED if name in header), None)
    if column is None:
        missing = BadRow(line=1, field=" or ".join(OPENED), value="", reason="this column is missing")
        raise BadTable(table, [missing])
    identity = next((name for name in IDENTITY if name in header), None)
    found = read_rows(text, table=table, required=(column,), optional=(identity,) if identity else ())
    bad, out, seen = Refusals(table), list[date](), set[str]()
    for row in found.rows:
        name = row.cells[identity] if identity else ""
        if name and name in seen:
            continue  # a further event of the same incident
        seen.add(name)
        opened = read_time(bad, row, column)
        if opened is not None:
            out.append(opened.date())
    bad.finish()
    return out


def prophet_forecast(country: str | None = None) -> volume.Forecast:
    """Prophet with holidays (Taylor & Letham 2018); China's make-up days, which it does not know, as a regressor."""

    def forecast(series: Daily, known: int, horizon: int) -> FloatArray:
        import pandas as pd
        from prophet import Prophet

        for name in ("cmdstanpy", "prophet"):
            logging.getLogger(name).setLevel(logging.ERROR)
        days = [series.day(i) for i in range(known + horizon)]
        frame = pd.DataFrame({"ds": pd.to_datetime([str(d) for d in days])})
        frame["make_up"] = [float(d in series.make_up_days) for d in days]
        frame["y"] = np.concatenate([series.counts[:known], np.full(horizon, np.nan)])
        off = [str(d) for d in days if d in series.holidays]
        listed = pd.DataFrame({"holiday": "holiday", "ds": pd.to_datetime(off)}) if off else None
        model = Prophet(
            holidays=listed, yearly_seasonality=known >= 730, weekly_seasonality=True, daily_seasonality=False
        )
        if country:
            model.add_country_holidays(country)
        if series.make_up_days:
            model.add_regressor("make_up")
        model.fit(frame.iloc[:known])
        made = model.predict(frame.iloc[known:].drop(columns="y"))["yhat"].to_numpy()
        return np.asarray(np.maximum(made, 0.0), dtype=np.float64)

    return forecast


def models(*, prophet: bool, country: str | None) -> dict[str, volume.Forecast]:
    """The contestants, the simplest first."""
    out: dict[str, volume.Forecast] = {
        "seasonal-naive": volume.seasonal_naive,
        "poisson-regression": volume.poisson_regression,
    }
    if prophet:
        out["prophet"] = prophet_forecast(country)
    return out


def plan(
    text: str,
    *,
    horizon: int = volume.HORIZON_DAYS,
    as_of: date | None = None,
    holidays: Sequence[date] = (),
    make_up_days: Sequence[date] = (),
    country: str | None = None,
    prophet: bool = True,
    minutes_each: float = 30.0,
    shift_h: float = 8.0,
    wait_min: float = 15.0,
    share: float = 0.9,
) -> dict[str, Any]:
    """The table of models, the forecast by the one that has earned it, and engineers a day.

    A record's last day may be half a day: it is left out unless `as_of` names it.
    """
    days = read_days(text)
    until = as_of or max(days, default=date.max) - timedelta(days=1)
    days = [each for each in days if each <= until]
    series = volume.daily(days, holidays=frozenset(holidays), make_up_days=frozenset(make_up_days), until=until)
    contestants = models(prophet=prophet, country=country)
    found = volume.compare(series, contestants, horizon=horizon)
    n = len(series.counts)
    expected = contestants[found.chosen](series, n, horizon)
    engineers = volume.engineers_by_day(expected, minutes_each, shift_h, wait_min, share)
    return {
        "as_of": until.isoformat(),
        "n_days": n,
        "n_incidents": int(np.sum(series.counts)),
        "table": _table(found),
        "chosen": found.chosen,
        "reason": found.reason,
        "assumptions": {"minutes_each": minutes_each, "shift_h": shift_h, "wait_min": wait_min, "share": share},
        "forecast": [
            {"day": series.day(n + i).isoformat(), "expected": float(expected[i]), "engineers": int(engineers[i])}
            for i in range(horizon)
        ],
    }


def _table(found: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "mase_mean": found.mean(name),
            "mase": {day.isoformat(): value for day, value in zip(found.origins, values, strict=True)},
        }
        for name, values in found.mase.items()
    ]
