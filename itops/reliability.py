"""Availability, redundancy, staffing and spare parts in closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from core.errors import InvalidInput
from itops.severity import FloatArray

HOURS_PER_YEAR = 8766.0


class BadReliability(InvalidInput):
    """A rate, time or count is out of range."""


def availability(mtbf_h: float, mttr_h: float) -> float:
    """Long-run share of time in service, MTBF / (MTBF + MTTR)."""
    if not (mtbf_h > 0 and mttr_h >= 0):
        raise BadReliability(mtbf_h=mtbf_h, mttr_h=mttr_h)
    return mtbf_h / (mtbf_h + mttr_h)


def k_of_n(k: int, n: int, unit_availability: float) -> float:
    """P(at least k of n independent units are in service)."""
    if not (0 <= k <= n and 0 <= unit_availability <= 1):
        raise BadReliability(k=k, n=n, unit_availability=unit_availability)
    return float(special.bdtrc(k - 1, n, unit_availability)) if k > 0 else 1.0


def n_open_probability(incidents_per_h: float, mean_repair_h: float, n: int) -> float:
    """P(n incidents are open at once): Poisson, whatever the law of repair times (M/G/infinity)."""
    if not (incidents_per_h >= 0 and mean_repair_h >= 0 and n >= 0):
        raise BadReliability(incidents_per_h=incidents_per_h, mean_repair_h=mean_repair_h, n=n)
    return _poisson(n, incidents_per_h * mean_repair_h)


def _poisson(n: int, mean: float) -> float:
    """P(N = n) of a Poisson count."""
    return float(np.exp(special.xlogy(n, mean) - special.gammaln(n + 1) - mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A station with a number of engineers, in its steady state."""

    load: float  #: mean number of engineers busy (erlang)
    occupancy: float
    wait_probability: float
    mean_wait: float  #: in the unit of the service time

    service_time: float
    servers: int

    def within(self, wait: float) -> float:
        """P(waiting time <= wait)."""
        return 1.0 - self.wait_probability * math.exp(-(self.servers - self.load) * wait / self.service_time)


def erlang_c(arrival_rate: float, service_time: float, servers: int) -> Queue:
    """M/M/c: arrivals per unit of time, mean service time in that unit.

    Erlang (1917), by the Poisson ratio, which neither overflows nor loses digits. Raises BadReliability where the
    station is overloaded: the queue then grows without end.
    """
    load = arrival_rate * service_time
    if not (arrival_rate > 0 and service_time > 0 and servers >= 1):
        raise BadReliability(arrival_rate=arrival_rate, service_time=service_time, servers=servers)
    if load >= servers:
        raise BadReliability("The station is overloaded: the queue grows without end", load=load, servers=servers)
    occupancy = load / servers
    blocked = _poisson(servers, load) / float(special.pdtr(servers, load))  # Erlang B
    wait = float(blocked / (1.0 - occupancy * (1.0 - blocked)))
    return Queue(
        load=load,
        occupancy=occupancy,
        wait_probability=wait,
        mean_wait=wait * service_time / (servers - load),
        service_time=service_time,
        servers=servers,
    )


def engineers_needed(arrival_rate: float, service_time: float, wait: float, share: float) -> Queue:
    """The station with the fewest engineers at which `share` of incidents wait no longer than `wait` (M/M/c)."""
    if not (wait >= 0 and 0 < share < 1 and arrival_rate > 0 and service_time > 0):
        raise BadReliability(arrival_rate=arrival_rate, service_time=service_time, wait=wait, share=share)
    servers = math.floor(arrival_rate * service_time) + 1
    while (station := erlang_c(arrival_rate, service_time, servers)).within(wait) < share:
        servers += 1
    return station


def spare_parts(demand_per_year: float, lead_time_years: float, fill_probability: float) -> int:
    """The smallest stock s with P(demand during the lead time <= s) >= fill_probability, demand Poisson."""
    if not (demand_per_year >= 0 and lead_time_years >= 0 and 0 < fill_probability < 1):
        raise BadReliability(
            demand_per_year=demand_per_year, lead_time_years=lead_time_years, fill_probability=fill_probability
        )
    mean = demand_per_year * lead_time_years
    if mean == 0:
        return 0
    parts = max(math.ceil(special.pdtrik(fill_probability, mean)) - 1, 0)
    return int(parts if special.pdtr(parts, mean) >= fill_probability else parts + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weibull:
    """Time to failure with hazard (k / eta) (t / eta)^(k - 1)."""

    shape: float  #: k; below 1 early failures, above 1 wear-out
    scale: float  #: eta, in any unit of time: 63.2 % have failed by then

    def __post_init__(self) -> None:
        if not (0 < self.shape < math.inf and 0 < self.scale < math.inf):
            raise BadReliability(shape=self.shape, scale=self.scale)

    @property
    def mean(self) -> float:
        """Mean time to failure, eta Gamma(1 + 1/k)."""
        return self.scale * float(special.gamma(1.0 + 1.0 / self.shape))

    def cumulative_hazard(self, t: float) -> float:
        """(t / eta)^k."""
        return float((t / self.scale) ** self.shape)

    def survival(self, t: float) -> float:
        """P(T > t)."""
        return math.exp(-self.cumulative_hazard(t))

    def life(self, failed: float) -> float:
        """Age by which this share has failed: the B10 life for 0.1."""
        return float(self.scale * (-math.log1p(-failed)) ** (1.0 / self.shape))

    def failure_probability(self, age: float, ahead: float) -> float:
        """P(fails within `ahead` | alive at `age`)."""
        return -math.expm1(self.cumulative_hazard(age) - self.cumulative_hazard(age + ahead))


def annual_downtime(
    k: int,
    n: int,
    failures_per_year: float,
    repair_h: Callable[[np.random.Generator, int], FloatArray],
    *,
    n_years: int,
    rng: np.random.Generator,
) -> FloatArray:
    """(n_years,) hours of each year in which fewer than k of n units are in service.

    The law of downtime and not its mean alone: n independent units that fail at a constant rate while in service, and
    are repaired for `repair_h(rng, size)` hours by any law, drawn as one long run in its steady state (after one year
    that is not counted). Raises BadReliability.
    """
    if not (1 <= k <= n and failures_per_year >= 0 and n_years >= 1):
        raise BadReliability(k=k, n=n, failures_per_year=failures_per_year, n_years=n_years)
    end = (n_years + 1) * HOURS_PER_YEAR
    at, change = [np.array([0.0, end])], [np.zeros(2)]
    for _ in range(n if failures_per_year > 0 else 0):
        down_from, down_to, now = list[FloatArray](), list[FloatArray](), 0.0
        while now < end:
            size = max(16, int(1.2 * (end - now) / HOURS_PER_YEAR * failures_per_year) + 16)
            up = rng.exponential(HOURS_PER_YEAR / failures_per_year, size)
            repair = np.asarray(repair_h(rng, size), dtype=np.float64)
            if np.any(~np.isfinite(repair)) or np.any(repair < 0):
                raise BadReliability("A repair time must be finite and not negative")
            back = now + np.cumsum(up + repair)
            down_from.append(back - repair)
            down_to.append(back)
            now = float(back[-1])
        for times, step in ((np.concatenate(down_from), 1.0), (np.concatenate(down_to), -1.0)):
            kept = np.minimum(times, end)
            at.append(kept)
            change.append(np.full(len(kept), step))
    moments, steps = np.concatenate(at), np.concatenate(change)
    order = np.argsort(moments, kind="stable")
    moments, n_down = moments[order], np.cumsum(steps[order])
    lost = np.concatenate([[0.0], np.cumsum(np.diff(moments) * (n_down[:-1] > n - k + 0.5))])
    # The integral of "down" is piecewise linear between moments, so that a year's edge may cut an outage.
    edges = np.arange(1, n_years + 2) * HOURS_PER_YEAR
    return np.asarray(np.diff(np.interp(edges, moments, lost)), dtype=np.float64)
