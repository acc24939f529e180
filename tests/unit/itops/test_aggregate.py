"""The compound law: moments, an independent recursion, closed forms, and the guard against wrap-around."""

import numpy as np
import pytest
from scipy import stats

from itops import aggregate
from itops.aggregate import BadCompound, GridTooShort, LossGroup, LossLaw, compound, discretise, moments, panjer

SEVERITY = np.array([0.2, 0.3, 0.0, 0.25, 0.0, 0.0, 0.15, 0.1])


def group(count: float, mixing_cv2: float = 0.0) -> LossGroup:
    return LossGroup(expected_count=count, mixing_cv2=mixing_cv2, probability=SEVERITY)


@pytest.mark.parametrize("mixing_cv2", [0.0, 0.16, 1.7])
def test_fft_equals_panjer(mixing_cv2: float) -> None:
    f = compound([group(4.0, mixing_cv2)], step=1.0, regime_cv=0.0).probability
    assert f[:300] == pytest.approx(panjer(group(4.0, mixing_cv2), 300), abs=1e-13)


def test_unit_losses_give_back_the_counting_law() -> None:
    unit = LossGroup(expected_count=12.0, mixing_cv2=0.25, probability=np.array([0.0, 1.0]))
    f = compound([unit], step=1.0, regime_cv=0.0).probability
    assert f[:80] == pytest.approx(stats.nbinom.pmf(np.arange(80), 4, 4 / 16), abs=1e-13)


def test_a_regime_alone_is_negative_binomial_too() -> None:
    """With Poisson groups the regime is a gamma mixture of their sum: closed form."""
    unit = LossGroup(expected_count=6.0, mixing_cv2=0.0, probability=np.array([0.0, 1.0]))
    f = compound([unit, unit], step=1.0, regime_cv=0.5).probability
    assert f[:80] == pytest.approx(stats.nbinom.pmf(np.arange(80), 4, 4 / 16), abs=1e-13)


def test_mean_and_variance_with_everything_switched_on() -> None:
    groups = [group(30.0, 0.3), group(2.0, 1.0), LossGroup(expected_count=0.0, mixing_cv2=0.5, probability=SEVERITY)]
    law = compound(groups, step=100.0, regime_cv=0.25)
    m1 = np.sum(np.arange(8) * SEVERITY) * 100
    m2 = np.sum((np.arange(8) * 100.0) ** 2 * SEVERITY)
    mean = 32 * m1
    variance = 32 * m2 + 0.3 * (30 * m1) ** 2 + 1.0 * (2 * m1) ** 2 + 0.25**2 * mean**2
    assert law.mean == pytest.approx(mean, rel=1e-9)
    assert law.variance == pytest.approx(variance, rel=1e-7)
    assert moments(groups, 100.0, 0.25) == (pytest.approx(mean), pytest.approx(variance))


def test_tail_against_simulation() -> None:
    """The regime's law is checked by drawing it: a gamma clock, then the groups' negative binomials on that clock."""
    rng = np.random.default_rng(20260101)
    n, count, c, regime = 400_000, 20.0, 0.4, 0.3
    clock = rng.gamma(1 / regime**2, regime**2, n)
    rate = rng.gamma(clock / c, c * count)
    draws = rng.poisson(rate)
    mass = np.arange(8.0)
    claims = np.repeat(np.arange(n), draws)
    paid = np.bincount(claims, weights=rng.choice(mass, size=len(claims), p=SEVERITY), minlength=n)
    law = compound([group(count, c)], step=1.0, regime_cv=regime)
    assert law.quantile(0.99) == pytest.approx(np.quantile(paid, 0.99), rel=0.02)
    assert law.tail_mean(0.99) == pytest.approx(np.mean(np.sort(paid)[-n // 100 :]), rel=0.02)


def test_wrap_around_is_found_and_the_grid_grows() -> None:
    law = compound([group(500.0, 0.5)], step=1.0, regime_cv=0.25, n_nodes=1024)
    assert len(law.loss) > 1024
    mean, _ = moments([group(500.0, 0.5)], 1.0, 0.25)
    assert law.mean == pytest.approx(mean, rel=1e-9)


def test_a_grid_that_can_never_hold_the_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "_MAX_NODES", 2048)
    with pytest.raises(GridTooShort):
        compound([group(5000.0, 0.5)], step=1.0, regime_cv=0.25, n_nodes=1024)


def test_probabilities_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(BadCompound):
        compound(
            [LossGroup(expected_count=1.0, mixing_cv2=0.0, probability=np.array([0.5, 0.4]))], step=1.0, regime_cv=0
        )


@pytest.mark.parametrize("step", [0.1, 7.0, 64.0, 1000.0])
def test_discretisation_keeps_the_mean_on_any_grid(step: float) -> None:
    def limited_mean(x: np.ndarray) -> np.ndarray:
        return -np.expm1(-np.minimum(x, 300.0) / 50.0) * 50.0

    f = discretise(limited_mean, 300.0, step)
    assert np.sum(f) == pytest.approx(1.0, abs=1e-12)
    assert np.all(f >= -1e-12)
    assert np.sum(f * np.arange(len(f)) * step) == pytest.approx(limited_mean(np.array([300.0]))[0], rel=1e-12)


def test_quantile_tail_mean_and_layer_of_a_small_law() -> None:
    law = LossLaw(loss=np.array([0.0, 10.0, 20.0, 100.0]), probability=np.array([0.5, 0.3, 0.15, 0.05]))
    assert [law.quantile(p) for p in (0.5, 0.51, 0.95, 0.96)] == [0.0, 10.0, 20.0, 100.0]
    assert law.tail_mean(0.95) == pytest.approx(100.0)
    assert law.tail_mean(0.9) == pytest.approx((20 * 0.05 + 100 * 0.05) / 0.1)
    assert law.layered(5.0, 50.0).mean == pytest.approx(0.3 * 5 + 0.15 * 15 + 0.05 * 50)
    assert law.stop_loss(15.0) == pytest.approx(0.15 * 5 + 0.05 * 85)
