"""Common shocks beside their closed form, brute force and simulation; the flags that say which moment is off."""

import itertools

import numpy as np
import pytest

from itops.aggregate import LossGroup, LossLaw, compound, panjer
from itops.shock import BadShock, Shock, ShockKind, Struck, count_moments, event_loss, shock_group
from itops.validation import RawMoments, check_law, simulate

LOSS = np.array([0.1, 0.6, 0.0, 0.3])


def shock(n: int = 3, p: float = 0.4, rate: float = 0.5) -> Shock:
    struck = Struck(n=n, hit_probability=p, probability=LOSS)
    return Shock(name="hall 2", kind=ShockKind.SITE_POWER_COOLING, rate_per_year=rate, members=(struck,))


def test_two_hundred_devices_under_a_shock() -> None:
    """200 devices at .05, shock .1 a year, hit .3: mean 16, variance 374 against 16 (the evidence page, derived)."""
    mean, variance = count_moments(np.full(200, 0.05), [(0.1, np.full(200, 0.3))])
    assert mean == pytest.approx(16.0)
    assert round(variance) == 374
    unit = Struck(n=200, hit_probability=0.3, probability=np.array([0.0, 1.0]))
    one = Shock(name="s", kind=ShockKind.NETWORK, rate_per_year=0.1, members=(unit,))
    own = LossGroup(expected_count=10.0, mixing_cv2=0.0, probability=np.array([0.0, 1.0]))
    law = compound([own, shock_group(one)], step=1.0, regime_cv=0.0)
    assert (law.mean, law.variance) == (pytest.approx(mean), pytest.approx(variance, rel=1e-6))


def test_the_loss_of_one_shock_is_that_of_every_case_summed() -> None:
    expected = np.zeros(10)
    for hits in itertools.product((0, 1), repeat=3):
        for losses in itertools.product(range(4), repeat=3):
            p = np.prod([(0.4 if h else 0.6) for h in hits]) * np.prod(LOSS[list(losses)])
            expected[sum(h * x for h, x in zip(hits, losses, strict=True))] += p
    assert event_loss(shock())[:10] == pytest.approx(expected, abs=1e-14)


def test_two_policies_share_a_shock_and_the_portfolio_says_so() -> None:
    """Summed as if independent, the portfolio's variance is too low by the covariance that the shock makes."""
    part = Struck(n=50, hit_probability=0.5, probability=np.array([0.0, 1.0]))
    apart = Shock(name="a", kind=ShockKind.CLOUD_REGION, rate_per_year=0.2, members=(part,))
    both = Shock(name="b", kind=ShockKind.CLOUD_REGION, rate_per_year=0.2, members=(part, part))
    wrong = compound([shock_group(apart), shock_group(apart)], step=1.0, regime_cv=0.0)
    right = compound([shock_group(both)], step=1.0, regime_cv=0.0)
    assert right.mean == pytest.approx(wrong.mean)
    assert right.variance - wrong.variance == pytest.approx(2 * 0.2 * 25.0 * 25.0, rel=1e-6)


def test_panjer_and_simulation_agree_with_the_transform() -> None:
    groups = [LossGroup(expected_count=2.0, mixing_cv2=0.3, probability=LOSS), shock_group(shock(40, 0.3, 0.4))]
    alone = compound([groups[1]], step=1.0, regime_cv=0.0)
    assert alone.probability[:80] == pytest.approx(panjer(groups[1], 80), abs=1e-12)
    law = compound(groups, step=1.0, regime_cv=0.25)
    drawn = simulate(groups, step=1.0, regime_cv=0.25, n_years=200_000, rng=np.random.default_rng(5))
    assert float(np.mean(drawn)) == pytest.approx(law.mean, rel=0.01)
    assert float(np.std(drawn)) == pytest.approx(law.variance**0.5, rel=0.02)
    assert float(np.quantile(drawn, 0.99)) == pytest.approx(law.quantile(0.99), rel=0.03)


def test_the_flag_names_the_moment_that_is_off() -> None:
    groups = [LossGroup(expected_count=3.0, mixing_cv2=0.3, probability=LOSS), shock_group(shock())]
    law = compound(groups, step=2.0, regime_cv=0.25)
    assert all(each.good for each in check_law(law, groups, step=2.0, regime_cv=0.25))
    doubled = LossLaw(loss=law.loss * 1.01, probability=law.probability)
    off = [each.name for each in check_law(doubled, groups, step=2.0, regime_cv=0.25) if not each.good]
    assert off == ["mean", "variance"]
    # Uniform on 0-4 put on a grid of 2 with its mean kept: the variance is not kept.
    coarse = LossGroup(expected_count=3.0, mixing_cv2=0.0, probability=np.array([0.25, 0.5, 0.25]))
    exact = [RawMoments(first=2.0, second=16 / 3, third=16.0)]
    found = check_law(compound([coarse], step=2.0, regime_cv=0.0), [coarse], step=2.0, regime_cv=0.0, exact=exact)
    assert {each.name: each.good for each in found} == {
        "probability": True, "mean": True, "variance": False, "skewness": False
    }  # fmt: skip
    assert "variance is off" in str(found[2])


@pytest.mark.parametrize(("rate", "p"), [(-0.1, 0.5), (0.1, 1.5), (0.1, -0.1), (float("inf"), 0.5)])
def test_impossible_shocks_are_refused(rate: float, p: float) -> None:
    with pytest.raises(BadShock):
        shock(3, p, rate)
