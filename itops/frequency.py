"""How often devices fail: a gamma prior for the rate of each class, updated by the fleet's own record."""

from dataclasses import dataclass

from core.errors import InvalidInput


class BadExposure(InvalidInput):
    """Exposure and counts must be finite and not negative, and there is no count without exposure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyPrior:
    """A gamma law for the rate of a device class: shape rate_per_year x weight_years, rate weight_years."""

    rate_per_year: float  #: mean incidents per device-year, > 0
    weight_years: float  #: device-years of record that it counts for, > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frequency:
    """The rate of a device class after the record has been seen."""

    rate_per_year: float  #: posterior mean, incidents per device-year
    shape: float  #: of the gamma posterior; its squared coefficient of variation is 1 / shape
    prior_share: float  #: credibility left to the prior
    n_incidents: int
    exposure_years: float
    fit_share: float = 0.0  #: credibility of a fit to another record; the rest is the own record's, Z

    @property
    def parameter_cv2(self) -> float:
        """Squared coefficient of variation of the rate: what is not known about it."""
        return 1.0 / self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a fit to another record says of a rate: as many failures in as many device-years as its spread is worth."""

    rate_per_year: float  #: > 0
    cv2: float  #: squared coefficient of variation of the rate to come: level, drift and regime together, > 0

    @property
    def n_failures(self) -> float:
        return 1.0 / self.cv2

    @property
    def years(self) -> float:
        return 1.0 / (self.cv2 * self.rate_per_year)


def update(
    prior: FrequencyPrior, n_incidents: int, exposure_years: float, evidence: Evidence | None = None
) -> Frequency:
    """The posterior of a Poisson rate under a gamma prior.

    Mean (alpha + n) / (beta + w) with alpha = m k, beta = k; credibility Z = w / (w + k) (Klugman, Panjer & Willmot,
    Loss Models, 4th ed., section 18.7). A fit's `evidence` is a gamma law too and counts as failures in device-years
    between the two. Raises BadExposure.
    """
    if not (0 <= exposure_years < float("inf")) or n_incidents < 0 or (n_incidents > 0 and exposure_years == 0):
        raise BadExposure(n_incidents=n_incidents, exposure_years=exposure_years)
    shape = prior.rate_per_year * prior.weight_years + n_incidents
    weight = prior.weight_years + exposure_years
    fitted_years = 0.0
    if evidence is not None:
        if not (0 < evidence.rate_per_year < float("inf") and 0 < evidence.cv2 < float("inf")):
            raise BadExposure(rate_per_year=evidence.rate_per_year, cv2=evidence.cv2)
        fitted_years = evidence.years
        shape += evidence.n_failures
        weight += fitted_years
    return Frequency(
        rate_per_year=shape / weight,
        shape=shape,
        prior_share=prior.weight_years / weight,
        n_incidents=n_incidents,
        exposure_years=exposure_years,
        fit_share=fitted_years / weight,
    )


def mixing_cv2(parameter_cv2: float, overdispersion_cv: float) -> float:
    """Squared coefficient of variation of a class's rate next year: two independent factors, (1+a)(1+b) - 1."""
    return (1.0 + parameter_cv2) * (1.0 + overdispersion_cv**2) - 1.0
