"""Fits a fleet's failure record and predicts from it: the verb behind `tocsin fleet`."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from core.errors import InvalidInput
from itops import records, regime, telemetry
from itops.credibility import GammaPoisson, fit_gamma_poisson
from itops.fit_use import FLEET_VERSION
from itops.fits import telemetry_model
from itops.records import UnknownShape

MODEL_VERSION = FLEET_VERSION
#: Spread of a year's level around what the record says where only one period is known (judgement).
ONE_PERIOD_REGIME_CV = 0.25


class BadModel(InvalidInput):
    """The file is not a model written by `tocsin fleet fit`."""


def read_text(path: Path) -> str:
    """The text of a CSV file, plain, gzip or Parquet (by its name)."""
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}")
    if path.suffix == ".parquet":
        import pandas as pd

        try:
            return str(pd.read_parquet(path).to_csv(index=False))
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            raise InvalidInput(f"{path} cannot be read: {error}") from error
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def fit(events: str, exposure: str, as_of: date | None) -> dict[str, Any]:
    """A model, as a JSON document, of a failure record and its exposure. Raises BadTable naming every bad row."""
    shape = records.shape_of(exposure)
    body = {"systems": _fit_systems, "spells": _fit_spells, "models": _fit_models}[shape](events, exposure, as_of)
    inputs = hashlib.sha256(json.dumps([events, exposure]).encode()).hexdigest()
    return {"model_version": MODEL_VERSION, "shape": shape, "inputs_sha256": inputs, **body}


def _fit_systems(events: str, exposure: str, as_of: date | None) -> dict[str, Any]:
    systems = records.read_systems(exposure)
    failures = records.read_failures(events, systems)
    if as_of is None:
        if not failures:
            raise InvalidInput("The events file has no failure; use a prior")
        as_of = failures[-1][1].date()
    panel = records.panel_of(systems, failures, as_of)
    levels = regime.fit_levels(panel)
    n, w = np.sum(panel.n_failures, axis=1), np.sum(panel.exposure, axis=1)
    units = {
        each.system: {
            "log_rate": float(levels.log_rate[u]),
            "variance": float(levels.variance[u]),
            "credibility": float(levels.credibility[u]),
            "n_failures": int(n[u]),
            "node_years": float(w[u]),
        }
        for u, each in enumerate(systems)
        if w[u] > 0
    }
    return {
        "as_of": as_of.isoformat(),
        "spreads": asdict(levels.spreads),
        "units": units,
        "prior": {name: list(value) for name, value in levels.prior.items()},
    }


def _fit_spells(events: str, exposure: str, as_of: date | None) -> dict[str, Any]:
    if records.shape_of(events) != "spells":
        raise UnknownShape("With start-stop exposure the events file must be start-stop rows too (column fails)")
    spells, _, blank, known_to = records.read_spells(events, as_of=as_of, failures=True, table="events")
    model = telemetry.fit_telemetry(spells)
    return {
        "as_of": known_to.isoformat() if known_to else None,
        "values_not_reported": blank,
        "intercept": model.intercept,
        "main": [list(each) for each in model.main],
        "since": list(model.since),
        "trend": list(model.trend),
        "cross": dict(model.cross),
        "n_failures": model.n_failures,
        "exposure_years": model.exposure_years,
        "regime_cv": model.regime_cv,
    }


def _fit_models(events: str, exposure: str, as_of: date | None) -> dict[str, Any]:
    counts = records.read_models(events, failures=True, table="events")
    weights = records.read_models(exposure, failures=False)
    years = dict(zip(weights.model, weights.exposure, strict=True))
    lacking = sorted(set(counts.model) - set(years))
    if lacking:
        raise InvalidInput(
            f"model {lacking[0]!r} of the events file is not in the exposure file", n_models=len(lacking)
        )
    n_of = dict(zip(counts.model, counts.n_failures, strict=True))
    n = np.array([n_of.get(name, 0.0) for name in weights.model])
    fitted = fit_gamma_poisson(n, weights.exposure, weights.manufacturer)
    units = {}
    for name, kind, failed, w in zip(weights.model, weights.manufacturer, n, weights.exposure, strict=True):
        mean, shape = fitted.posterior(kind, float(failed), float(w))
        prior = fitted.mean.get(kind, fitted.overall)
        units[name] = {
            "rate_per_year": mean,
            "shape": shape,
            "credibility": float(w / (w + fitted.shape / prior)),
            "n_failures": int(failed),
            "drive_years": float(w),
        }
    return {
        "as_of": as_of.isoformat() if as_of else None,
        "units": units,
        "manufacturers": fitted.mean,
        "overall": fitted.overall,
        "shape_between": fitted.shape,
        "regime_cv": ONE_PERIOD_REGIME_CV,
    }


def predict(model: dict[str, Any], exposure: str) -> list[dict[str, Any]]:
    """One row per row of the exposure: unit, expected failures, p05, p95, exposure in unit-years (weighted).

    Raises BadModel, UnknownShape where the exposure has another shape than the fit had, BadTable.
    """
    if model.get("model_version") != MODEL_VERSION:
        raise BadModel(model_version=model.get("model_version"))
    shape = records.shape_of(exposure)
    if shape != model.get("shape"):
        raise UnknownShape(f"The model was fitted to {model.get('shape')}, the exposure file has {shape}")
    made = {"systems": _predict_systems, "spells": _predict_spells, "models": _predict_models}[shape]
    try:
        return list(made(model, exposure))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadModel(f"The model lacks {error}: it is not as `tocsin fleet fit` wrote it") from error


def _row(unit: str, expected: float, low: float, high: float, exposure: float) -> dict[str, Any]:
    return {"unit": unit, "expected": expected, "p05": low, "p95": high, "exposure": exposure}


def _predict_systems(model: dict[str, Any], exposure: str) -> Iterator[dict[str, Any]]:
    spreads = regime.Spreads(**model["spreads"])
    prior = model["prior"]
    for each in records.read_systems(exposure):
        known = model["units"].get(each.system)
        if known:
            mean, variance = known["log_rate"], known["variance"]
        else:
            mean, variance = prior.get(each.group) or prior.get(each.group.split("/")[0] + "/") or prior["/"]
            mean += np.log(each.size)
        horizon = min(max(each.node_years / each.nodes, 1 / 12), 10.0)
        new = known is None or known["node_years"] < regime.NEW_YEARS * each.nodes * 0.25
        law = regime.predict(mean, variance, spreads, each.node_years, horizon, new=new)
        yield _row(each.system, law.expected, law.quantile(0.05), law.quantile(0.95), each.node_years)


def _predict_spells(model: dict[str, Any], exposure: str) -> Iterator[dict[str, Any]]:
    known_to = date.fromisoformat(model["as_of"]) if model["as_of"] else None
    spells, units, _, _ = records.read_spells(exposure, as_of=known_to, failures=False)
    fitted = telemetry_model(model)
    expected, years = fitted.expected(spells)
    low, high = _negative_binomial(expected, np.full(len(expected), model["regime_cv"] ** 2))
    for row in zip(units, expected, low, high, years, strict=True):
        yield _row(row[0], float(row[1]), int(row[2]), int(row[3]), float(row[4]))


def _predict_models(model: dict[str, Any], exposure: str) -> Iterator[dict[str, Any]]:
    counts = records.read_models(exposure, failures=False)
    spread = GammaPoisson(mean=model["manufacturers"], overall=model["overall"], shape=model["shape_between"])
    for name, kind, w in zip(counts.model, counts.manufacturer, counts.exposure, strict=True):
        known = model["units"].get(name)
        mean, shape = (known["rate_per_year"], known["shape"]) if known else spread.posterior(kind, 0.0, 0.0)
        cv2 = (1.0 + 1.0 / shape) * (1.0 + model["regime_cv"] ** 2) - 1.0
        low, high = _negative_binomial(np.array([mean * w]), np.array([cv2]))
        yield _row(name, mean * float(w), int(low[0]), int(high[0]), float(w))


def _negative_binomial(mean: Any, cv2: Any) -> tuple[Any, Any]:
    """5 % and 95 % quantiles of a Poisson count whose mean is gamma with this squared coefficient of variation."""
    spread = cv2 > 0
    size = 1.0 / np.where(spread, cv2, 1.0)
    p = size / (size + mean)
    return tuple(
        np.where(spread, stats.nbinom.ppf(at, size, p), stats.poisson.ppf(at, mean)).clip(min=0) for at in (0.05, 0.95)
    )


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Predictions as CSV text: unit, expected, p05, p95, exposure."""
    out = io.StringIO()
    writer = csv.DictWriter(out, ("unit", "expected", "p05", "p95", "exposure"), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "expected": f"{row['expected']:.8g}", "exposure": f"{row['exposure']:.8g}"})
    return out.getvalue()
