"""What one more policy adds to a book, and what that costs: average annual loss and tail of the two together.

Both are given on the same events. Years are simulated once (Poisson counts) and the book's and the policy's losses of
each event stand in the same year, so that their dependence through the event is kept. TVaR at level q is the mean of
the worst (1 - q) of the years. Marginal TVaR: TVaR of the book with the policy less TVaR of the book alone. Co-TVaR:
the policy's mean in the years that are the worst of the two together; over all policies of a book it adds up to the
book's TVaR (Euler allocation: Tasche 1999; Kalkbrener 2005, Mathematical Finance 15:425-437).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RESAMPLES = 50


class BadPair(InvalidInput):
    """The book and the policy are not on the same events."""


def annual_losses(rate_per_year: FloatArray, losses: FloatArray, n_years: int, rng: np.random.Generator) -> FloatArray:
    """(n_years, k) sums of each year of k columns of event losses (n_events, k), in the same simulated years."""
    total = float(rate_per_year.sum())
    if n_years < 1 or total * n_years > 2e8:
        raise InvalidInput(f"years: {n_years:,} is not between 1 and what fits in memory")
    n = int(rng.poisson(total * n_years))
    cumulative = np.cumsum(rate_per_year)
    event = np.minimum(np.searchsorted(cumulative, rng.random(n) * total, side="right"), len(rate_per_year) - 1)
    year = rng.integers(0, n_years, n)
    return np.column_stack([np.bincount(year, losses[event, k], n_years) for k in range(losses.shape[1])])


def tail(annual: FloatArray, level: float) -> IntArray:
    """The worst years: floor of (1 - level) of them, at least one; equal years in their order."""
    if not 0.0 < level < 1.0:
        raise InvalidInput(f"level: {level:g} is not between 0 and 1")
    k = max(math.floor(len(annual) * (1.0 - level) + 1e-9), 1)
    return np.argsort(-annual, kind="stable")[:k]


def tvar(annual: FloatArray, level: float) -> float:
    """Mean of the worst years."""
    return float(annual[tail(annual, level)].mean())


def co_tvar(columns: FloatArray, level: float) -> FloatArray:
    """(k,) mean of each column in the worst years of their sum: adds up to the sum's TVaR."""
    found: FloatArray = columns[tail(columns.sum(axis=1), level)].mean(axis=0)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginal:
    """What a policy adds to a book."""

    aal_policy: float  #: exact: sum of rate times loss
    aal_book: float
    tvar_book: float
    tvar_both: float
    tvar_policy_alone: float
    marginal_tvar: float
    marginal_tvar_se: float  #: sampling error, from resampled years
    co_tvar: float
    capital: float  #: marginal TVaR less the policy's average annual loss, at least 0
    premium: float  #: (average annual loss + cost of capital x capital) / (1 - expense)
    level: float
    n_years: int

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def price(
    rate_per_year: FloatArray,
    book: FloatArray,
    policy: FloatArray,
    *,
    n_years: int,
    level: float,
    cost_of_capital: float,
    expense: float,
    rng: np.random.Generator,
) -> Marginal:
    """The marginal price of a policy against a book, both as (n_events,) losses of the same events."""
    if not (rate_per_year.shape == book.shape == policy.shape) or not len(book):
        raise BadPair("events: book and policy do not have the same ones")
    if not 0.0 <= expense < 1.0:
        raise InvalidInput(f"expense: {expense:g} is not a share of the premium below 1")
    if not 0.0 <= cost_of_capital <= 1.0:
        raise InvalidInput(f"cost of capital: {cost_of_capital:g} is not a rate between 0 and 1")
    if n_years * (1.0 - level) < 20:
        raise InvalidInput(f"years: {n_years:,} years hold less than 20 beyond level {level:g}: simulate more")
    annual = annual_losses(rate_per_year, np.column_stack([book, policy]), n_years, rng)
    both = annual.sum(axis=1)
    added = tvar(both, level) - tvar(annual[:, 0], level)
    again = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, n_years, n_years)
        again.append(tvar(both[rows], level) - tvar(annual[rows, 0], level))
    aal = float(rate_per_year @ policy)
    capital = max(added - aal, 0.0)
    return Marginal(
        aal_policy=aal,
        aal_book=float(rate_per_year @ book),
        tvar_book=tvar(annual[:, 0], level),
        tvar_both=tvar(both, level),
        tvar_policy_alone=tvar(annual[:, 1], level),
        marginal_tvar=added,
        marginal_tvar_se=float(np.std(again, ddof=1)),
        co_tvar=float(co_tvar(annual, level)[1]),
        capital=capital,
        premium=(aal + cost_of_capital * capital) / (1.0 - expense),
        level=level,
        n_years=n_years,
    )
