"""Published worked examples and textbook problems, each with its source.

KPW: Klugman, Panjer & Willmot, Loss Models. Bahnemann: Distributions for Actuaries (CAS Monograph 2). Wang (2000):
"A class of distortion operators for pricing financial and insurance risks", J. Risk & Insurance 67.
"""

import math
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from scipy import special, stats

from itops.aggregate import LossGroup, LossLaw, compound, discretise, moments, panjer
from itops.credibility import shrink, structure
from itops.frequency import FrequencyPrior, update
from itops.payment import PaymentLaw, PaymentSchedule, Piece
from itops.pricing import proportional_hazard_mean, wang_mean
from itops.reliability import Weibull, availability, erlang_c, k_of_n, n_open_probability
from itops.severity import FloatArray, Spliced
from itops.sla import WorkingCalendar, around_the_clock, due_at


class Lognormal:
    """A log-normal law, the reference of several textbook problems."""

    def __init__(self, mu: float, sigma: float) -> None:
        self.mu, self.sigma = mu, sigma

    def survival(self, hours: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore"):
            return np.asarray(special.ndtr(-(np.log(hours) - self.mu) / self.sigma))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        x = np.asarray(hours, dtype=float)
        with np.errstate(divide="ignore"):
            z = (np.log(x) - self.mu) / self.sigma
        return np.asarray(np.exp(self.mu + self.sigma**2 / 2) * special.ndtr(z - self.sigma) + x * special.ndtr(-z))


def probabilities(atoms: dict[int, float]) -> FloatArray:
    out = np.zeros(max(atoms) + 1)
    for at, probability in atoms.items():
        out[at] = probability
    return out


def poisson(rate: float, atoms: dict[int, float]) -> LossGroup:
    return LossGroup(expected_count=rate, mixing_cv2=0.0, probability=probabilities(atoms))


def test_compound_moments() -> None:
    """KPW examples 9.3 and 9.4: hospital days and charges, by the moments that the grid check uses."""
    n_mean, n_sd, x_mean, x_sd = 6.7, 2.3, 179_247.0, 52_141.0
    mean = n_mean * x_mean
    sd = math.sqrt(n_mean * x_sd**2 + n_sd**2 * x_mean**2)
    assert mean == pytest.approx(1_200_954.9, abs=0.05)
    # The book's answer is to its own rounding of the two moments.
    assert sd == pytest.approx(433_797.4, rel=1e-6)
    assert stats.norm.sf(0.4 * mean / sd) == pytest.approx(0.134063, abs=5e-7)
    sigma2 = math.log1p((sd / mean) ** 2)
    mu = math.log(mean) - sigma2 / 2
    assert stats.norm.sf((math.log(1.4 * mean) - mu) / math.sqrt(sigma2)) == pytest.approx(0.127997, abs=5e-7)


def test_stop_loss_of_a_group_dental_plan() -> None:
    """KPW examples 9.5 and 9.6: general counts, so the counts' generating function is summed by hand."""
    x = np.array([0, 0.15, 0.2, 0.25, 0.125, 0.075, 0.05, 0.05, 0.05, 0.025, 0.025])
    n = [0.05, 0.1, 0.15, 0.2, 0.25, 0.15, 0.06, 0.03, 0.01]
    total, power = np.zeros(81), np.array([1.0])
    for probability in n:
        total[: len(power)] += probability * power
        power = np.convolve(power, x)
    law = LossLaw(loss=np.arange(81) * 25.0, probability=total)
    assert law.mean / 25 == pytest.approx(12.58, abs=5e-9)
    assert law.variance / 625 == pytest.approx(58.7464, abs=5e-5)
    assert total[:4] == pytest.approx([0.05, 0.015, 0.023375, 0.034675], abs=5e-9)
    assert [law.stop_loss(25.0 * d) for d in range(4)] == pytest.approx([314.5, 290.75, 267.375, 244.584375])


@pytest.mark.parametrize("method", ["fft", "panjer"])
def test_compound_poisson_with_three_claim_sizes(method: str) -> None:
    """KPW exercise 9.34."""
    group = poisson(5.0, {1: 0.8, 5: 0.16, 10: 0.04})
    f = panjer(group, 7) if method == "panjer" else compound([group], step=100.0, regime_cv=0.0).probability
    assert f[6] == pytest.approx(0.0598929, abs=5e-8)


def test_the_sum_of_two_compound_poissons() -> None:
    """KPW example 9.9."""
    a, b = poisson(2.0, {1: 0.6, 2: 0.4}), poisson(1.0, {1: 0.7, 3: 0.3})
    f = compound([a, b], step=1.0, regime_cv=0.0).probability
    assert f[2] == pytest.approx(0.129695, abs=5e-7)
    assert f[:6] * math.e**3 == pytest.approx([1, 1.9, 2.605, 2.963167, 2.877004, 2.510375], abs=5e-7)


def test_a_small_compound_poisson() -> None:
    """KPW exercise 9.57."""
    group = poisson(3.0, {1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1})
    assert compound([group], step=1.0, regime_cv=0.0).cumulative()[3] == pytest.approx(0.288168, abs=5e-7)
    assert np.sum(panjer(group, 4)) == pytest.approx(0.288168, abs=5e-7)


def test_tweedie() -> None:
    """Bahnemann example 4.2: Poisson 2.5, gamma of shape 3 and scale 400, by mean-preserving discretisation."""
    gamma = stats.gamma(3, scale=400.0)
    step, largest = 1.0, 24_000.0

    def limited_mean(x: FloatArray) -> FloatArray:
        return np.asarray(1200.0 * stats.gamma.cdf(x, 4, scale=400.0) + x * gamma.sf(x))

    group = LossGroup(expected_count=2.5, mixing_cv2=0.0, probability=discretise(limited_mean, largest, step))
    mean, variance = moments([group], step, 0.0)
    assert mean == pytest.approx(3000.0, rel=1e-9)
    assert variance == pytest.approx(4_800_000.0, rel=1e-6)
    law = compound([group], step=step, regime_cv=0.0)
    third = float(np.sum((law.loss - law.mean) ** 3 * law.probability))
    assert third / law.variance**1.5 == pytest.approx(0.912871, abs=2e-6)
    # A continuous law meets the grid half a step off.
    cumulative = np.interp([0, 500, 1000, 2000, 3000, 5000, 8000], law.loss + step / 2, law.cumulative())
    expected = [0.082085, 0.109550, 0.186725, 0.375529, 0.561277, 0.827283, 0.972333]
    assert cumulative == pytest.approx(expected, abs=2e-6)


def test_limited_expected_values_and_increased_limits_factors() -> None:
    """Bahnemann example 6.3: log-normal mu 7, sigma 2.4; fixed allocated expense 2,200."""
    limits = np.array([1e5, 5e5, 1e6, 2e6, 5e6])
    cover = PaymentSchedule((Piece(start_h=0.0, amount=0.0, slope_per_h=1.0),))
    means = np.array([PaymentLaw(cover.up_to(limit), Lognormal(7.0, 2.4)).mean for limit in limits])
    assert means == pytest.approx([8896.0, 13625.6, 15345.2, 16737.9, 18048.0], abs=0.05)
    factors = (means[1:] + 2200) / (means[0] + 2200)
    assert factors == pytest.approx([1.4262, 1.5812, 1.7067, 1.8248], abs=5e-5)


@pytest.mark.parametrize(
    ("low", "high", "expected", "hazard", "wang"),
    [
        (0, 50_000, 4788, 5481, 5482),  # misprinted in the paper; the exact values
        (50_000, 100_000, 657, 910, 845),
        (200_000, 300_000, 307, 475, 414),
        (500_000, 1_000_000, 428, 728, 598),
        (2_000_000, 5_000_000, 420, 819, 616),
    ],
)
def test_layer_prices_by_distortion(low: float, high: float, expected: float, hazard: float, wang: float) -> None:
    """Wang (2000) table 1: Pareto S(x) = (2000 / (2000 + x))^1.2, Wang 0.1, proportional hazards 0.9245."""
    x = np.concatenate([np.linspace(low, high, 400_001)])
    at = np.concatenate([[0.0], (x[:-1] + x[1:]) / 2 - low, [high - low]])
    survival = (2000 / (2000 + x)) ** 1.2
    probability = np.concatenate([[1 - survival[0]], survival[:-1] - survival[1:], [survival[-1]]])
    law = LossLaw(loss=at, probability=probability)
    assert law.mean == pytest.approx(expected, abs=1)
    assert proportional_hazard_mean(law, 0.9245) == pytest.approx(hazard, abs=1)
    assert wang_mean(law, 0.1) == pytest.approx(wang, abs=1)


def test_wang_shifts_a_lognormal() -> None:
    """A distorted log-normal (mu, sigma) is log-normal (mu + lambda sigma, sigma); quantile and tail mean."""
    edges = np.exp(5 + np.linspace(-6, 7, 400_001))
    survival = stats.norm.sf(np.log(edges) - 5)
    # Each cell's mass sits at the cell's own mean, so that the mean is exact.
    below = np.exp(5.5) * stats.norm.cdf(np.log(edges) - 5 - 1)
    mass = -np.diff(survival)
    law = LossLaw(loss=np.diff(below) / mass, probability=mass / np.sum(mass))
    assert law.mean == pytest.approx(244.6919, abs=5e-5)
    assert wang_mean(law, 0.25) == pytest.approx(314.1907, rel=1e-4)
    assert law.quantile(0.99) == pytest.approx(1519.821, rel=1e-4)
    assert law.tail_mean(0.99) == pytest.approx(2260.030, rel=1e-4)


def test_a_waiting_period_over_lognormal_repairs() -> None:
    """Repair log-normal with median 2.5 h and sigma 1.2; 8 h waiting period, indemnity period 72 h."""
    repair = Lognormal(math.log(2.5), 1.2)
    assert float(repair.limited_mean(np.array([1e12]))[0]) == pytest.approx(5.136083, abs=5e-7)
    assert float(repair.survival(np.array([4.0]))[0]) == pytest.approx(0.347651, abs=5e-7)
    retention = PaymentSchedule(
        (Piece(start_h=0.0, amount=0.0, slope_per_h=0.0), Piece(start_h=8.0, amount=0.0, slope_per_h=1.0))
    )
    assert PaymentLaw(retention.up_to(1e12), repair).mean == pytest.approx(1.707004, abs=5e-7)
    assert PaymentLaw(retention.up_to(64.0), repair).mean == pytest.approx(1.609520, abs=5e-7)


def test_a_waiting_period_over_the_body_of_a_spliced_law() -> None:
    """The same layer from the spliced law, its threshold so high that the body is the whole log-normal."""
    sigma, top = 1.2, 2.5 * math.exp(1.2 * 9)
    above = float(stats.norm.sf(9))
    law = Spliced(
        body_mu=math.log(2.5), body_sigma=sigma, threshold_h=top, probability_above=above, tail_shape=0.0,
        tail_scale_h=1.0,
    )  # fmt: skip
    at = np.array([8.0, 72.0])
    low, high = law.limited_mean(at)
    assert high - low == pytest.approx(1.609520, abs=5e-7)
    assert law.survival(np.array([4.0]))[0] == pytest.approx(0.347651, abs=5e-7)


def test_gamma_poisson_credibility() -> None:
    """A prior of 0.06 a device-year worth 50 device-years; 7 failures in 80."""
    posterior = update(FrequencyPrior(rate_per_year=0.06, weight_years=50.0), 7, 80.0)
    assert posterior.rate_per_year == pytest.approx(0.0769231, abs=5e-8)
    assert posterior.prior_share == pytest.approx(50 / 130)


#: Hachemeister (1975), private passenger bodily injury: average claim and number of claims, 5 states x 12 quarters;
#: as printed in Goovaerts & Hoogstad, Credibility Theory, and shipped with the R package actuar.
HACHEMEISTER_VALUE = np.array(
    [
        [1738, 1642, 1794, 2051, 2079, 2234, 2032, 2035, 2115, 2262, 2267, 2517],
        [1364, 1408, 1597, 1444, 1342, 1675, 1470, 1448, 1464, 1831, 1612, 1471],
        [1759, 1685, 1479, 1763, 1674, 2103, 1502, 1622, 1828, 2155, 2233, 2059],
        [1223, 1146, 1010, 1257, 1426, 1532, 1953, 1123, 1343, 1243, 1762, 1306],
        [1456, 1499, 1609, 1741, 1482, 1572, 1606, 1735, 1607, 1573, 1613, 1690],
    ],
    dtype=float,
)
HACHEMEISTER_WEIGHT = np.array(
    [
        [7861, 9251, 8706, 8575, 7917, 8263, 9456, 8003, 7365, 7832, 7849, 9077],
        [1622, 1742, 1523, 1515, 1622, 1602, 1964, 1515, 1527, 1748, 1654, 1861],
        [1147, 1357, 1329, 1204, 998, 1077, 1277, 1218, 896, 1003, 1108, 1121],
        [407, 396, 348, 341, 315, 328, 352, 331, 287, 384, 321, 342],
        [2902, 3172, 3046, 3068, 2693, 2910, 3275, 2697, 2663, 3017, 3242, 3425],
    ],
    dtype=float,
)


def test_buhlmann_and_straub_on_hachemeister() -> None:
    """Hachemeister (1975), all 60 cells: structure parameters, credibility factors, collective and premiums."""
    weight = np.sum(HACHEMEISTER_WEIGHT, axis=1)
    mean = np.sum(HACHEMEISTER_WEIGHT * HACHEMEISTER_VALUE, axis=1) / weight
    assert weight == pytest.approx([100155, 19895, 13735, 4152, 36110], abs=0)
    assert mean == pytest.approx([2060.92, 1511.22, 1805.84, 1352.98, 1599.83], abs=0.005)
    parameters = structure(HACHEMEISTER_WEIGHT, HACHEMEISTER_VALUE)
    assert parameters.within == pytest.approx(139_120_026, abs=0.5)
    assert parameters.between == pytest.approx(89_638.73, abs=0.005)
    assert parameters.k == pytest.approx(1552.01, abs=0.005)
    found = shrink(weight, mean, parameters)
    assert found.z == pytest.approx([0.9847, 0.9276, 0.8985, 0.7279, 0.9588], abs=5e-5)
    assert found.collective == pytest.approx(1683.713, abs=5e-4)
    assert found.mean == pytest.approx([2055.17, 1523.71, 1793.44, 1442.97, 1603.29], abs=0.005)


def test_weibull_lives() -> None:
    early, worn = Weibull(shape=0.7, scale=1000.0), Weibull(shape=1.5, scale=1000.0)
    assert early.mean == pytest.approx(1265.8235, abs=5e-5)
    assert early.life(0.1) == pytest.approx(40.16295, abs=5e-6)
    assert worn.mean == pytest.approx(902.7453, abs=5e-5)
    assert worn.life(0.1) == pytest.approx(223.0755, abs=5e-5)
    for law in (early, worn):
        assert law.survival(1000.0) == pytest.approx(0.367879, abs=5e-7)
    assert early.failure_probability(8760.0, 8760.0) == pytest.approx(0.942324, abs=5e-7)


def test_erlang_c() -> None:
    """Mitan's call-centre example: 360 calls in 30 minutes of 240 s each, 55 agents."""
    queue = erlang_c(360 / 1800, 240.0, 55)
    assert queue.load == pytest.approx(48.0)
    assert queue.occupancy == pytest.approx(0.872727, abs=5e-7)
    assert queue.wait_probability == pytest.approx(0.238701, abs=5e-7)
    assert queue.mean_wait == pytest.approx(8.1840, abs=5e-5)
    assert queue.within(15.0) == pytest.approx(0.845883, abs=5e-7)


def test_availability_redundancy_and_open_incidents() -> None:
    a = availability(8760.0, 4.0)
    assert a == pytest.approx(0.999543587, abs=5e-10)
    assert k_of_n(1, 2, a) == pytest.approx(0.99999979169, abs=5e-12)
    assert n_open_probability(0.02, 6.0, 0) == pytest.approx(0.886920, abs=5e-7)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.mark.parametrize(
    ("pause", "due"),
    [
        (None, "2023-03-06 12:30"),
        (("2023-03-06 10:00", "2023-03-06 11:15"), "2023-03-06 13:45"),
        (("2023-03-03 16:45", "2023-03-06 09:30"), "2023-03-06 13:15"),
    ],
)
def test_a_business_clock_of_four_hours(pause: tuple[str, str] | None, due: str) -> None:
    """Mon-Fri 09:00-17:00 in Shanghai, opened on a Friday at 16:30."""
    calendar = WorkingCalendar(
        version="1", zone=ZoneInfo("Asia/Shanghai"), week={day: ((time(9), time(17)),) for day in range(5)}
    )
    pauses = [] if pause is None else [(local(pause[0]), local(pause[1]))]
    assert due_at(local("2023-03-03 16:30"), timedelta(hours=4), calendar, pauses) == local(due)


def test_a_clock_that_never_stands() -> None:
    assert due_at(local("2023-03-03 16:30"), timedelta(hours=4), around_the_clock()) == local("2023-03-03 20:30")
