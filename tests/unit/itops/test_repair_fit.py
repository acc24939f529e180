"""The spliced law fitted: recovery with open tickets, and the figures of the prior from their source."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itops.incident import RepairTimes
from itops.severity import BadRepairLaw, FloatArray, Spliced, fit_spliced
from itops.underwrite import load_priors


def drawn(law: Spliced, n: int, seed: int) -> FloatArray:
    table = np.concatenate([np.linspace(1e-6, 50, 200_001), np.geomspace(50.001, 1e9, 100_000)])
    return np.interp(np.random.default_rng(seed).random(n), 1 - law.survival(table), table)


LAW = Spliced(
    body_mu=0.3, body_sigma=1.1, threshold_h=8.0, probability_above=0.12, tail_shape=0.8, tail_scale_h=7.0
)  # fmt: skip


def test_what_was_drawn_is_found_also_with_open_tickets() -> None:
    hours = drawn(LAW, 40_000, 1)
    cut = np.random.default_rng(2).uniform(0.2, 60.0, 40_000)
    restored = hours <= cut
    times = RepairTimes(hours=np.minimum(hours, cut), restored=restored)
    fit = fit_spliced(times, 8.0)
    assert fit.body_mu == pytest.approx(LAW.body_mu, abs=0.05)
    assert fit.body_sigma == pytest.approx(LAW.body_sigma, abs=0.04)
    assert fit.probability_above == pytest.approx(LAW.probability_above, abs=0.006)
    assert fit.tail_shape == pytest.approx(LAW.tail_shape, abs=0.1)
    assert fit.tail_scale_h == pytest.approx(LAW.tail_scale_h, rel=0.08)
    # Read as closed, the same tickets make long repairs look rare.
    as_closed = fit_spliced(RepairTimes(hours=times.hours, restored=np.ones(40_000, dtype=bool)), 8.0)
    layer = np.array([8.0, 72.0])
    assert np.diff(as_closed.limited_mean(layer))[0] < 0.8 * np.diff(LAW.limited_mean(layer))[0]
    assert np.diff(fit.limited_mean(layer))[0] == pytest.approx(np.diff(LAW.limited_mean(layer))[0], rel=0.05)


def test_too_few_or_impossible_repairs_are_refused() -> None:
    with pytest.raises(BadRepairLaw, match="Too few"):
        fit_spliced(RepairTimes(hours=np.linspace(0.1, 7, 50), restored=np.ones(50, dtype=bool)), 8.0)
    with pytest.raises(BadRepairLaw, match="positive duration"):
        fit_spliced(RepairTimes(hours=np.linspace(0.0, 40, 50), restored=np.ones(50, dtype=bool)), 8.0)


def lanl(shared_data: Path) -> pd.DataFrame:
    found = pd.read_csv(shared_data / "itops" / "lanl_failures.csv.gz", parse_dates=["started"])
    return found[found["down_min"] > 0]


def test_the_repair_prior_is_what_its_source_gives(shared_data: Path) -> None:
    hours = lanl(shared_data)["down_min"].to_numpy(dtype=float) / 60
    assert len(hours) == 16_254
    fit = fit_spliced(RepairTimes(hours=hours, restored=np.ones(len(hours), dtype=bool)), 8.0)
    prior = load_priors()[0].repair["default"].law
    assert fit.body_mu == pytest.approx(prior.body_mu, abs=1e-4)
    assert fit.body_sigma == pytest.approx(prior.body_sigma, abs=1e-4)
    assert fit.probability_above == pytest.approx(prior.probability_above, abs=1e-6)
    assert fit.tail_shape == pytest.approx(prior.tail_shape, abs=1e-3)
    assert fit.tail_scale_h == pytest.approx(prior.tail_scale_h, abs=5e-3)
