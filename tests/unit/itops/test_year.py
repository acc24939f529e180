"""The year of several covers: against simulation, closed forms and its own additivity."""

import numpy as np
import pytest
from scipy.special import roots_genlaguerre

from itops.year import CoverTerms, EventKind, regime_nodes, year

SIZES = np.array([100.0, 500.0, 2000.0])
KINDS = [
    EventKind(name="a", cause="attritional", expected_count=3.0, mixing_cv2=0.3,
              probability=np.array([0.6, 0.3, 0.1]), payment=np.array([SIZES, 0.5 * SIZES])),
    EventKind(name="b", cause="site", expected_count=0.4, mixing_cv2=0.0,
              probability=np.array([0.5, 0.4, 0.1]), payment=np.array([4 * SIZES, SIZES])),
    EventKind(name="c", cause="security", expected_count=0.2, mixing_cv2=0.2, in_regime=False,
              probability=np.array([0.2, 0.5, 0.3]), payment=np.array([0 * SIZES, 10 * SIZES])),
]  # fmt: skip


def simulated(terms: list[CoverTerms], n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    r = 0.25**2
    theta = rng.gamma(1 / r, r, n)
    out = np.zeros((2, n))
    for kind in KINDS:
        climate = theta if kind.in_regime else np.ones(n)
        if kind.mixing_cv2 > 0:
            # The regime runs the clock of a gamma-mixed Poisson process: shape theta / c, as in ADR 0040.
            lam = kind.expected_count * rng.gamma(climate / kind.mixing_cv2, kind.mixing_cv2)
        else:
            lam = kind.expected_count * climate
        count = rng.poisson(lam)
        which = rng.choice(3, size=int(count.sum()), p=kind.probability)
        owner = np.repeat(np.arange(n), count)
        for j in range(2):
            out[j] += np.bincount(owner, kind.payment[j][which], n)
    return np.array([term.applied(row) for term, row in zip(terms, out, strict=True)])


@pytest.mark.parametrize(
    "terms",
    [[CoverTerms(), CoverTerms()], [CoverTerms(), CoverTerms(deductible=200, limit=6000)]],
    ids=["free", "second cover capped for the year"],
)
def test_the_year_is_what_simulation_draws(terms: list[CoverTerms]) -> None:
    law = year(KINDS, terms, regime_cv=0.25, names=["one", "two"])
    drawn = simulated(terms, 200_000, 3)
    assert law.cover_mean == pytest.approx(drawn.mean(axis=1), rel=0.012)
    total = drawn.sum(axis=0)
    # Covers with terms of the year share only the regime with the others: their common events are left out.
    slack = 0.03 if not any(term.act for term in terms) else 0.12
    for level in (0.5, 0.9, 0.99):
        assert law.total.quantile(level) == pytest.approx(np.quantile(total, level), rel=slack, abs=60)


def test_mean_and_variance_are_exact_and_co_tails_add_up() -> None:
    law = year(KINDS, [CoverTerms(), CoverTerms()], regime_cv=0.25, names=["one", "two"])
    mean = sum(k.expected_count * k.mean for k in KINDS)
    assert law.cover_mean == pytest.approx(mean, rel=1e-8)
    assert law.total.mean == pytest.approx(mean.sum(), rel=1e-8)
    assert all(check.holds for check in law.checks)
    for level in (0.9, 0.99):
        assert law.co_tail_mean(level).sum() == pytest.approx(law.total.tail_mean(level), rel=1e-5)


def test_one_poisson_kind_is_klugman_panjer_willmot_9_57() -> None:
    kind = EventKind(
        name="x", cause="attritional", expected_count=3.0, mixing_cv2=0.0, in_regime=False,
        probability=np.array([0.4, 0.3, 0.2, 0.1]), payment=np.array([[1.0, 2.0, 3.0, 4.0]]),
    )  # fmt: skip
    law = year([kind], [CoverTerms()], regime_cv=0.0, names=["x"])
    assert law.total.probability[law.total.loss < 3.5].sum() == pytest.approx(0.288168, abs=5e-7)


def test_a_limit_of_the_year_holds_and_says_which_moment_is_checked() -> None:
    law = year(KINDS, [CoverTerms(), CoverTerms(limit=3000)], regime_cv=0.25, names=["one", "two"])
    assert law.cover_mean[1] < 3000
    assert {check.block for check in law.checks} == {"one", "two"}
    assert {check.moment for check in law.checks} == {"mean", "variance", "wrapped variance"}


def test_nothing_insured_costs_nothing() -> None:
    kind = EventKind(name="x", cause="a", expected_count=0.0, mixing_cv2=0.0, probability=np.ones(1),
                     payment=np.ones((1, 1)))  # fmt: skip
    assert year([kind], [CoverTerms()], regime_cv=0.2, names=["x"]).total.mean == 0


@pytest.mark.parametrize("cv2", [0.01, 0.0625, 0.25, 0.9])
def test_nodes_of_the_regime_are_those_of_gauss_laguerre(cv2: float) -> None:
    at, weight = regime_nodes(16, cv2)
    other, own = roots_genlaguerre(16, 1.0 / cv2 - 1.0)
    assert at == pytest.approx(other * cv2, rel=1e-13)
    assert weight == pytest.approx(own / np.sum(own), rel=1e-9, abs=1e-15)
    # Moments of a gamma law of mean 1: E[X^k] = prod (1 + i cv2), exact to degree 31.
    for k in range(1, 8):
        assert float(np.sum(weight * at**k)) == pytest.approx(float(np.prod(1 + np.arange(k) * cv2)), rel=1e-12)
