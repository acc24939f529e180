"""Repair times as a mixture by cause: a log-normal body for each, one generalised Pareto tail for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from itops.losses import Mixture
from itops.severity import BadRepairLaw, FloatArray, Spliced, least

#: Tickets that the collective counts for beside a cause's own: of its body, and of its share above the threshold.
_TICKETS = 25.0
#: Shares of causes are Dirichlet with this much of the whole record's mix beside the recent one.
_SHARES = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What is kept of a cause."""

    cause: str
    alpha: float  #: of the Dirichlet law of next year's shares
    body_mu: float
    body_sigma: float
    probability_above: float  #: P(D > threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseMixture:
    """The mixture: above the threshold every cause has the same tail."""

    threshold_h: float
    tail_shape: float
    tail_scale_h: float
    causes: tuple[Cause, ...]

    def laws(self) -> list[Spliced]:
        """The law of each cause."""
        return [
            Spliced(
                body_mu=c.body_mu, body_sigma=c.body_sigma, threshold_h=self.threshold_h,
                probability_above=c.probability_above, tail_shape=self.tail_shape, tail_scale_h=self.tail_scale_h,
            )
            for c in self.causes
        ]  # fmt: skip

    def law(self, shares: FloatArray | None = None) -> Mixture:
        """The mixture at the mean of the shares, or at drawn ones."""
        weights = [c.alpha for c in self.causes] if shares is None else [float(x) for x in shares]
        return Mixture(self.laws(), weights)

    def draw_shares(self, rng: np.random.Generator) -> FloatArray:
        """Shares of causes drawn from their Dirichlet law."""
        return rng.dirichlet([c.alpha for c in self.causes])


def mixture_from(document: Mapping[str, Any]) -> CauseMixture:
    """From its JSON document. Raises KeyError, TypeError or ValueError where it is not one."""
    return CauseMixture(**{**document, "causes": tuple(Cause(**each) for each in document["causes"])})


def fit_causes(
    hours: FloatArray, restored: "np.ndarray[Any, Any]", cause: Sequence[str], weight: FloatArray, threshold_h: float
) -> CauseMixture:
    """The mixture of greatest weighted likelihood; open tickets are right-censored.

    A body is log-normal, cut at the threshold u: (1 - p) f(t) / F(u) below it. A cause's body and share above u are
    drawn to those of all causes by the weight of its tickets (credibility k = 25). The tail is fitted to the excesses
    of all causes together. Raises BadRepairLaw with fewer than 10 tickets on either side of u.
    """
    above = hours > threshold_h
    inside = restored & ~above & (hours > 0)
    if np.count_nonzero(inside) < 10 or np.count_nonzero(above) < 10:
        raise BadRepairLaw("Too few repairs on one side of the threshold", threshold_h=threshold_h)
    excess, closed = hours[above] - threshold_h, restored[above]
    w_tail = weight[above]

    def tail_cost(p: FloatArray) -> float:
        xi, beta = np.exp(p[0]), np.exp(p[1])
        grown = np.log1p(xi * excess / beta)
        return float(np.sum(w_tail * (closed * (p[1] + grown) + grown / xi)))

    log_xi, log_beta = least(tail_cost, np.array([np.log(0.5), np.log(np.mean(np.minimum(excess, 10 * threshold_h)))]))
    names = sorted(set(cause))
    of = np.array([names.index(each) for each in cause])
    log_u = float(np.log(threshold_h))
    every = _body(np.log(hours[inside]), weight[inside], log_u, None)
    total, over = float(np.sum(weight)), float(np.sum(weight[above]))
    share_above = over / total
    known = np.bincount(of, weight, len(names))
    causes = []
    for k, name in enumerate(names):
        mine = inside & (of == k)
        mu, sigma = _body(np.log(hours[mine]), weight[mine], log_u, every)
        p = (float(np.sum(weight[above & (of == k)])) + _TICKETS * share_above) / (float(known[k]) + _TICKETS)
        causes.append(
            Cause(
                cause=name, alpha=float(known[k]) + _SHARES * float(known[k]) / total, body_mu=mu, body_sigma=sigma,
                probability_above=float(np.clip(p, 1e-6, 1 - 1e-6)),
            )
        )  # fmt: skip
    return CauseMixture(
        threshold_h=threshold_h, tail_shape=float(np.exp(log_xi)), tail_scale_h=float(np.exp(log_beta)),
        causes=tuple(causes),
    )  # fmt: skip


def _body(
    logs: FloatArray, weight: FloatArray, log_u: float, collective: tuple[float, float] | None
) -> tuple[float, float]:
    """(mu, sigma) of a log-normal cut at u, drawn to the collective's by a normal prior worth 25 tickets."""
    if not len(logs):
        assert collective is not None
        return collective

    def cost(p: FloatArray) -> float:
        mu, sigma = p[0], np.exp(p[1])
        z = (logs - mu) / sigma
        told = float(np.sum(weight * (0.5 * z * z + p[1] + log_ndtr((log_u - mu) / sigma))))
        if collective is not None:
            gap = ((mu - collective[0]) / collective[1]) ** 2 + 2.0 * (p[1] - np.log(collective[1])) ** 2
            told += 0.5 * _TICKETS * float(gap)
        return told

    start = np.array([float(np.average(logs, weights=weight)), 0.0])
    mu, log_sigma = least(cost, start)
    return mu, float(np.exp(log_sigma))
