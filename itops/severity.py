"""How long outages last: a spliced prior law, and its update by repair times of which some are still running."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from core.errors import InvalidInput
from itops.incident import RepairTimes

FloatArray = NDArray[np.float64]


class BadRepairLaw(InvalidInput):
    """A repair-time law's parameters are out of range."""


class RepairLaw(Protocol):
    """The law of an outage's duration D in hours."""

    def survival(self, hours: FloatArray) -> FloatArray:
        """P(D > h)."""
        ...

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        """E[min(D, h)], the limited expected value: the integral of the survival function from 0 to h."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spliced:
    """Log-normal up to a threshold, generalised Pareto above it; the survival function is continuous.

    P(D <= h) = (1 - p) F(h) / F(u) for h <= u with F log-normal; P(D > h) = p (1 + xi (h - u) / beta)^(-1/xi) above
    (peaks over threshold: McNeil, Frey & Embrechts, Quantitative Risk Management, section 7.2). With xi >= 1 the mean
    is infinite: only a layer with an indemnity period has a price.
    """

    body_mu: float  #: of log hours
    body_sigma: float
    threshold_h: float
    probability_above: float  #: P(D > threshold)
    tail_shape: float  #: xi, >= 0
    tail_scale_h: float  #: beta

    def __post_init__(self) -> None:
        good = (
            self.body_sigma > 0
            and self.threshold_h > 0
            and 0 < self.probability_above < 1
            and self.tail_shape >= 0
            and self.tail_scale_h > 0
        )
        if not good or not all(np.isfinite([self.body_mu, self.body_sigma, self.threshold_h, self.tail_scale_h])):
            raise BadRepairLaw(law=repr(self))

    def _body_scale(self) -> float:
        return float((1.0 - self.probability_above) / ndtr((np.log(self.threshold_h) - self.body_mu) / self.body_sigma))

    def survival(self, hours: FloatArray) -> FloatArray:
        h = np.asarray(hours, dtype=np.float64)
        inside = np.minimum(h, self.threshold_h)
        with np.errstate(divide="ignore"):
            z = (np.log(np.maximum(inside, 0.0)) - self.body_mu) / self.body_sigma
        body = 1.0 - self._body_scale() * ndtr(z)
        excess = np.maximum(h - self.threshold_h, 0.0) / self.tail_scale_h
        if self.tail_shape == 0:
            tail = self.probability_above * np.exp(-excess)
        else:
            tail = self.probability_above * np.exp(-np.log1p(self.tail_shape * excess) / self.tail_shape)
        return np.where(h <= self.threshold_h, body, tail)

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        h = np.maximum(np.asarray(hours, dtype=np.float64), 0.0)
        inside = np.minimum(h, self.threshold_h)
        with np.errstate(divide="ignore"):
            z = (np.log(inside) - self.body_mu) / self.body_sigma
        # The integral of F from 0 to h is h F(h) - E[X; X <= h]; the latter is exp(mu + sigma^2 / 2) ndtr(z - sigma).
        below = inside * ndtr(z) - np.exp(self.body_mu + 0.5 * self.body_sigma**2) * ndtr(z - self.body_sigma)
        body = inside - self._body_scale() * below
        excess = np.maximum(h - self.threshold_h, 0.0) / self.tail_scale_h
        xi = self.tail_shape
        if xi == 0:
            area = -np.expm1(-excess)
        else:
            log_growth = np.log1p(xi * excess)
            # (g^(1 - 1/xi) - 1) / (xi - 1) with g = 1 + xi e; its limit at xi = 1 is log g.
            power = 1.0 - 1.0 / xi
            area = log_growth / xi if abs(power) < 1e-12 else np.expm1(power * log_growth) / (xi - 1.0)
        return np.asarray(body + self.probability_above * self.tail_scale_h * area, dtype=np.float64)


class Updated:
    """A repair-time law after a record with open tickets: the mean of the Dirichlet-process posterior.

    Susarla & Van Ryzin (1976), J. Am. Stat. Assoc. 71, eq. 2.8, with a prior that counts for `weight` tickets. As the
    weight goes to 0 it is the Kaplan-Meier estimate; with no open ticket it is the weighted mean of prior and
    empirical law; beyond the longest record it has the prior's tail, scaled. Open tickets are never read as closed.
    """

    def __init__(
        self, prior: RepairLaw, weight: float, record: RepairTimes, ticket_weight: FloatArray | None = None
    ) -> None:
        """`ticket_weight` (n,) >= 0 says for how many tickets each counts (older ones for less); 1 where it is None.

        Raises BadRepairLaw where `weight` is not positive or a duration or ticket weight is negative or not finite.
        """
        hours, restored = record.hours, record.restored
        each = np.ones(len(hours)) if ticket_weight is None else np.asarray(ticket_weight, dtype=np.float64)
        if each.shape != hours.shape or not np.all(np.isfinite(each)) or np.any(each < 0):
            raise BadRepairLaw("A ticket's weight must be finite and not negative", n_tickets=len(hours))
        if not weight > 0 or hours.shape != restored.shape or not np.all(np.isfinite(hours)) or np.any(hours < 0):
            raise BadRepairLaw(weight=weight, n_tickets=len(hours))
        self.prior, self.weight = prior, float(weight)
        self.n_tickets, self.n_open = len(hours), int(np.count_nonzero(~restored))
        # Between two neighbouring knots the number of longer tickets and the censoring product are constant.
        knots = np.unique(np.concatenate([[0.0], hours]))
        at = np.searchsorted(knots, hours)
        total = float(np.sum(each))
        longer = np.maximum(total - np.cumsum(np.bincount(at, each, len(knots))), 0.0)
        longer[-1] = 0.0
        n_censored = np.bincount(at[~restored], each[~restored], len(knots))
        at_risk = self.weight * prior.survival(knots) + longer
        self._product = np.cumprod((at_risk + n_censored) / at_risk) / (self.weight + total)
        self.total_weight = total
        self._knots, self._longer = knots, longer
        prior_area = np.diff(prior.limited_mean(knots))
        self._from_prior = np.concatenate([[0.0], np.cumsum(self._product[:-1] * self.weight * prior_area)])
        self._from_record = np.concatenate([[0.0], np.cumsum(self._product[:-1] * self._longer[:-1] * np.diff(knots))])

    @property
    def prior_share(self) -> float:
        """Credibility left to the prior, 1 - Z."""
        return self.weight / (self.weight + self.total_weight)

    def survival(self, hours: FloatArray) -> FloatArray:
        h = np.asarray(hours, dtype=np.float64)
        prior_part, record_part = self._survival_parts(h)
        return np.asarray(prior_part + record_part, dtype=np.float64)

    def _survival_parts(self, hours: FloatArray) -> tuple[FloatArray, FloatArray]:
        k = np.searchsorted(self._knots, hours, side="right") - 1
        prior_part = self._product[k] * self.weight * self.prior.survival(hours)
        return np.asarray(prior_part, dtype=np.float64), np.asarray(
            self._product[k] * self._longer[k], dtype=np.float64
        )

    def prior_part(self) -> "PriorPart":
        """What of this law the prior's mass gives."""
        return PriorPart(self)

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        prior_part, record_part = self.limited_mean_parts(hours)
        return prior_part + record_part

    def limited_mean_parts(self, hours: FloatArray) -> tuple[FloatArray, FloatArray]:
        """E[min(D, h)] as the part that the prior's mass gives and the part that the record gives."""
        h = np.maximum(np.asarray(hours, dtype=np.float64), 0.0)
        k = np.searchsorted(self._knots, h, side="right") - 1
        start = self._knots[k]
        prior_area = self.prior.limited_mean(h) - self.prior.limited_mean(start)
        prior_part = self._from_prior[k] + self._product[k] * self.weight * prior_area
        record_part = self._from_record[k] + self._product[k] * self._longer[k] * (h - start)
        return np.asarray(prior_part, dtype=np.float64), np.asarray(record_part, dtype=np.float64)


class PriorPart:
    """What of an updated repair-time law its first prior gives: not a law by itself, it does not sum to 1.

    Where the prior is itself a law with a prior below it (a fit to another record), only what comes from the lowest
    one counts: what a fit learned from tickets rests on data.
    """

    def __init__(self, updated: Updated) -> None:
        self._updated = updated
        below = getattr(updated.prior, "prior_part", None)
        self._base: RepairLaw | None = None if below is None else below()
        if self._base is not None:
            area = np.diff(self._base.limited_mean(updated._knots))
            each = updated._product[:-1] * updated.weight * area
            self._start = np.concatenate([[0.0], np.cumsum(each)])

    def survival(self, hours: FloatArray) -> FloatArray:
        h = np.asarray(hours, dtype=np.float64)
        if self._base is None:
            return self._updated._survival_parts(h)[0]
        u = self._updated
        k = np.searchsorted(u._knots, h, side="right") - 1
        return np.asarray(u._product[k] * u.weight * self._base.survival(h), dtype=np.float64)

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        if self._base is None:
            return self._updated.limited_mean_parts(hours)[0]
        u, h = self._updated, np.maximum(np.asarray(hours, dtype=np.float64), 0.0)
        k = np.searchsorted(u._knots, h, side="right") - 1
        since = self._base.limited_mean(h) - self._base.limited_mean(u._knots[k])
        return np.asarray(self._start[k] + u._product[k] * u.weight * since, dtype=np.float64)


def fit_spliced(record: RepairTimes, threshold_h: float) -> Spliced:
    """The spliced law of greatest likelihood, open tickets counting as right-censored.

    With F log-normal, p = P(D > u) and G the generalised Pareto survival of the excess: a repair t <= u contributes
    (1 - p) f(t) / F(u), one above p g(t - u), a ticket open at c <= u contributes 1 - (1 - p) F(c) / F(u), one open
    above p G(c - u). Body and p, and the tail, are fitted apart: they share no parameter. Raises BadRepairLaw where a
    repair has no positive duration, or fewer than 10 repairs lie on either side of the threshold.
    """
    hours, restored = record.hours, record.restored
    if not threshold_h > 0 or np.any(~np.isfinite(hours)) or np.any(hours < 0) or np.any(hours[restored] <= 0):
        raise BadRepairLaw("Repairs need a positive duration to be fitted by a log-normal", threshold_h=threshold_h)
    low = hours <= threshold_h
    body, tail = hours[restored & low], hours[restored & ~low] - threshold_h
    open_low, open_tail = hours[~restored & low], hours[~restored & ~low] - threshold_h
    if len(body) < 10 or len(tail) < 10:
        raise BadRepairLaw(
            "Too few repairs on one side of the threshold", below=len(body), above=len(tail), threshold_h=threshold_h
        )
    logs, log_u = np.log(body), np.log(threshold_h)
    open_low = open_low[open_low > 0]
    n_above = len(tail) + len(open_tail)

    def body_cost(p: FloatArray) -> float:
        mu, sigma, odds = p[0], np.exp(p[1]), p[2]
        log_p, log_q = -np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)
        z = (logs - mu) / sigma
        inside = log_ndtr((log_u - mu) / sigma)
        told = np.sum(-0.5 * z * z) - len(z) * (p[1] + inside - log_q) + n_above * log_p
        if len(open_low):
            told += np.sum(np.log1p(-np.exp(log_q + log_ndtr((np.log(open_low) - mu) / sigma) - inside)))
        return float(-told)

    def tail_cost(p: FloatArray) -> float:
        xi, beta = np.exp(p[0]), np.exp(p[1])
        closed, still_open = np.log1p(xi * tail / beta), np.log1p(xi * open_tail / beta)
        return float(len(tail) * p[1] + (1.0 + 1.0 / xi) * np.sum(closed) + np.sum(still_open) / xi)

    start = np.array([np.mean(logs), np.log(max(float(np.std(logs)), 0.1)), np.log(n_above / len(body))])
    mu, log_sigma, odds = least(body_cost, start)
    log_xi, log_beta = least(tail_cost, np.array([np.log(0.5), np.log(np.mean(np.minimum(tail, 10 * threshold_h)))]))
    return Spliced(
        body_mu=mu,
        body_sigma=float(np.exp(log_sigma)),
        threshold_h=threshold_h,
        probability_above=float(1.0 / (1.0 + np.exp(-odds))),
        tail_shape=float(np.exp(log_xi)),
        tail_scale_h=float(np.exp(log_beta)),
    )


def least(cost: Callable[[FloatArray], float], start: FloatArray) -> list[float]:
    """Where a smooth cost of two or three parameters is least; the simplex is started again until it rests."""
    from scipy import optimize  # heavy, and no quote needs it

    at, value = start, np.inf
    for _ in range(20):
        found = optimize.minimize(
            cost, at, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000}
        )
        at, settled, value = found.x, value - found.fun < 1e-9, found.fun
        if settled:
            return [float(each) for each in at]
    raise BadRepairLaw("The likelihood of the repair times has no inner maximum")


def kaplan_meier(record: RepairTimes) -> tuple[FloatArray, FloatArray]:
    """(hours, survival) of the product-limit estimate just after each distinct repair time.

    Kaplan & Meier (1958), J. Am. Stat. Assoc. 53. Tickets still open at a time count as at risk then.
    """
    times = np.unique(record.hours[record.restored])
    ordered = np.sort(record.hours)
    at_risk = len(ordered) - np.searchsorted(ordered, times, side="left")
    closed = np.sort(record.hours[record.restored])
    repaired = np.searchsorted(closed, times, side="right") - np.searchsorted(closed, times, side="left")
    return times, np.asarray(np.cumprod(1.0 - repaired / at_risk), dtype=np.float64)
