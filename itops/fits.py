"""What a fit of another record says of the devices of a quote: their failure rates and their repair times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from core.errors import InvalidInput
from itops import regime, repair
from itops.credibility import GammaPoisson
from itops.fit_use import FitUse
from itops.fleet import Asset
from itops.losses import Mixture
from itops.severity import FloatArray, RepairLaw
from itops.telemetry import ATTRIBUTES, HOURS_PER_YEAR, Spells, TelemetryModel


class BadFit(InvalidInput):
    """A fit's document cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """(n,) of devices over the policy period."""

    per_year: FloatArray
    cv2: FloatArray  #: squared coefficient of variation of the rate to come
    known: "np.ndarray[tuple[int], np.dtype[np.bool_]]"  #: whether the device's unit is in the fit

    @property
    def n_unknown(self) -> int:
        return int(np.count_nonzero(~self.known))


def rates_of(
    use: FitUse,
    assets: Sequence[Asset],
    period_from: date,
    period_to: date,
    values: Mapping[str, Mapping[str, float]],
) -> Rates:
    """Rates of devices from a fit of `tocsin fleet fit`.

    A device's unit is the attribute that the use names. One whose unit the fit does not have gets the fit's
    collective: the units' mean rate, with the spread between units. `values` are raw telemetry values by asset and
    attribute, where known. Raises BadFit.
    """
    document = use.document
    assert document is not None  # the submission was refused without it
    try:
        known_to = None if use.as_of is None else date.fromisoformat(use.as_of)
        gap = 0.0 if known_to is None else max((period_from - known_to).days, 0) / 365.25
        length = (period_to - period_from).days / 365.25
        if use.shape == "systems":
            return _systems(document, _units(use, assets), gap, length)
        if use.shape == "models":
            return _models(document, _units(use, assets), [asset.manufacturer or "unknown" for asset in assets])
        if use.shape == "spells":
            return _spells(document, assets, period_from, length, gap, values)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadFit(f"fits.{use.kind}: the document of {use.device_class} cannot be read: {error!r}") from error
    raise BadFit(f"fits.{use.kind}: shape {use.shape!r} is not systems, models or spells")


def _units(use: FitUse, assets: Sequence[Asset]) -> list[str]:
    return [str(getattr(asset, use.by) or "") for asset in assets]


def _systems(document: Mapping[str, Any], units: Sequence[str], gap: float, length: float) -> Rates:
    spreads = regime.Spreads(**document["spreads"])
    laws = {}
    for name, unit in document["units"].items():
        # The level wanders on from the as-of day of the fit until the policy begins; its mean stays (a martingale).
        variance = float(unit["variance"]) + spreads.drift**2 * gap
        law = regime.predict(float(unit["log_rate"]), variance, spreads, 1.0, max(length, 1 / 12), new=False)
        mean = float(np.exp(float(unit["log_rate"]) + 0.5 * float(unit["variance"])))
        laws[name] = (mean, float(np.expm1(law.log_variance)), float(unit["node_years"]))
    return _found(laws, units)


def _models(document: Mapping[str, Any], units: Sequence[str], makers: Sequence[str]) -> Rates:
    regime2 = float(document["regime_cv"]) ** 2
    spread = GammaPoisson(
        mean=dict(document["manufacturers"]), overall=float(document["overall"]), shape=float(document["shape_between"])
    )
    rate, cv2, known = np.empty(len(units)), np.empty(len(units)), np.zeros(len(units), dtype=np.bool_)
    for i, (name, maker) in enumerate(zip(units, makers, strict=True)):
        unit = document["units"].get(name)
        if unit is None:
            mean, shape = spread.posterior(maker, 0.0, 0.0)
        else:
            mean, shape = float(unit["rate_per_year"]), float(unit["shape"])
        rate[i], cv2[i], known[i] = mean, (1.0 + 1.0 / shape) * (1.0 + regime2) - 1.0, unit is not None
    return Rates(per_year=rate, cv2=cv2, known=known)


def _found(laws: Mapping[str, tuple[float, float, float]], units: Sequence[str]) -> Rates:
    mean, cv2, weight = (np.array([law[k] for law in laws.values()]) for k in range(3))
    weight = weight / np.sum(weight)
    overall = float(np.sum(weight * mean))
    # A unit that is not in the fit: within and between units, as of one drawn by exposure.
    second = float(np.sum(weight * mean**2 * (1.0 + cv2)))
    other = (overall, second / overall**2 - 1.0)
    rate, spread, known = np.empty(len(units)), np.empty(len(units)), np.zeros(len(units), dtype=np.bool_)
    for i, name in enumerate(units):
        law = laws.get(name)
        rate[i], spread[i] = other if law is None else law[:2]
        known[i] = law is not None
    return Rates(per_year=rate, cv2=spread, known=known)


def telemetry_model(document: Mapping[str, Any]) -> TelemetryModel:
    """The regression of a document of shape `spells`."""
    return TelemetryModel(
        intercept=float(document["intercept"]),
        main=tuple(tuple(each) for each in document["main"]),
        since=tuple(document["since"]),
        trend=tuple(document["trend"]),
        cross=dict(document["cross"]),
        n_failures=float(document["n_failures"]),
        exposure_years=float(document["exposure_years"]),
        regime_cv=float(document["regime_cv"]),
    )


def _spells(
    document: Mapping[str, Any],
    assets: Sequence[Asset],
    period_from: date,
    length: float,
    gap: float,
    values: Mapping[str, Mapping[str, float]],
) -> Rates:
    """A spell from inception on with what is known of the telemetry then: trouble that lasts is told by the fit itself.

    Power-on hours are taken as hours since commissioning.
    """
    model = telemetry_model(document)
    start = np.array([max((period_from - asset.commissioned_on).days, 0) * 24.0 for asset in assets])
    told = np.array(
        [[values.get(asset.asset_id, {}).get(name, np.nan) for name in ATTRIBUTES] for asset in assets], dtype=float
    ).reshape(len(assets), len(ATTRIBUTES))
    spells = Spells(
        model=tuple(asset.model or "unknown" for asset in assets),
        manufacturer=tuple(asset.manufacturer or "unknown" for asset in assets),
        start_h=start, stop_h=start + length * HOURS_PER_YEAR, failed=np.zeros(len(assets), dtype=np.bool_),
        weight=np.ones(len(assets)), values=told, days_ago=np.full(len(assets), -gap * 365.25),
    )  # fmt: skip
    expected, years = model.expected(spells)
    known = np.array([f"model|{asset.model}|0" in model.cross for asset in assets], dtype=np.bool_)
    cv2 = model.regime_cv**2 + 1.0 / max(model.n_failures, 1.0)
    return Rates(per_year=expected / years, cv2=np.full(len(assets), cv2), known=known)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairUse:
    """A repair fit read once: the law of each of its sites and of their mix."""

    fit: repair.RepairFit
    by_site: Mapping[str, RepairLaw]
    mix: RepairLaw

    def law_for(self, sites: Mapping[str, int]) -> tuple[RepairLaw, int]:
        """The law of devices that stand at these sites (number of each), and how many have none of their own.

        Those at sites that the fit does not have get the mix of its sites to come.
        """
        laws, weights, unknown = [], [], 0
        for name, n in sorted(sites.items()):
            law = self.by_site.get(name)
            if law is None:
                unknown += n
                continue
            laws.append(law)
            weights.append(float(n))
        if unknown or not laws:
            laws.append(self.mix)
            weights.append(float(max(unknown, 1)))
        return (laws[0] if len(laws) == 1 else Mixture(laws, weights)), unknown


def repair_use(use: FitUse, prior: RepairLaw) -> RepairUse:
    """A fit of `tocsin repair fit` over the book's prior. Raises BadFit."""
    assert use.document is not None  # the submission was refused without it
    try:
        fit = repair.fit_from(use.document)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFit(f"fits.repair: the document cannot be read: {error!r}") from error
    laws = repair.law_of(fit, prior)
    by_site = {site.site: law for site, law in zip(fit.sites, laws, strict=True)}
    return RepairUse(fit=fit, by_site=by_site, mix=Mixture(laws, [site.share for site in fit.sites]))
