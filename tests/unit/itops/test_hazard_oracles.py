"""The hazard fits against lifelines and statsmodels on the same rows (extra `oracles`)."""

import numpy as np
import pytest

from itops.hazard import Records, fit_piecewise, fit_weibull, records


def rows(n: int = 4000) -> Records:
    rng = np.random.default_rng(11)
    start = rng.uniform(0.05, 6.0, n)
    x = rng.normal(size=(n, 2))
    risk = np.exp(x @ [0.5, -0.3])
    death = 9.0 * ((start / 9.0) ** 1.4 + rng.exponential(size=n) / risk) ** (1 / 1.4)
    failed = death <= start + 1.0
    return records(start, np.where(failed, death, start + 1.0), failed, covariates=x)


def test_weibull_is_what_lifelines_printed() -> None:
    """lifelines 0.30.3, WeibullAFTFitter with entry_col on rows(): shape, scale, -shape x coefficients, likelihood."""
    ours = fit_weibull(rows())
    assert ours.shape == pytest.approx(1.3450687151229128, rel=1e-3)
    assert ours.scale == pytest.approx(9.221231341454821, rel=1e-3)
    assert ours.coefficient == pytest.approx([0.47748822144503145, -0.32702260394411564], abs=1e-3)
    assert ours.log_likelihood == pytest.approx(-1291.4207645609736, abs=1e-2)


def test_weibull_is_that_of_lifelines_with_left_truncation() -> None:
    lifelines = pytest.importorskip("lifelines", reason="the extra `oracles` is not installed")
    pd = pytest.importorskip("pandas")
    data = rows()
    frame = pd.DataFrame(
        {"start": data.start, "stop": data.stop, "failed": data.failed, "a": data.covariates[:, 0],
         "b": data.covariates[:, 1]}
    )  # fmt: skip
    peer = lifelines.WeibullAFTFitter().fit(frame, "stop", "failed", entry_col="start")
    shape = float(np.exp(peer.params_["rho_"]["Intercept"]))
    ours = fit_weibull(data)
    assert ours.shape == pytest.approx(shape, rel=1e-3)
    assert ours.scale == pytest.approx(float(np.exp(peer.params_["lambda_"]["Intercept"])), rel=1e-3)
    # Proportional hazards equal accelerated failure times with b = -shape x b of the latter.
    assert ours.coefficient == pytest.approx([-shape * float(peer.params_["lambda_"][c]) for c in "ab"], abs=1e-3)
    assert ours.log_likelihood == pytest.approx(float(peer.log_likelihood_), abs=1e-2)


def test_piecewise_is_the_poisson_regression_of_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api", reason="the extra `oracles` is not installed")
    data = rows()
    edges = np.array([0.0, 2.0, 4.0, 7.5])
    ours = fit_piecewise(data, edges)
    design, time, died = [], [], []
    for j in range(3):
        inside = np.minimum(data.stop, edges[j + 1]) - np.maximum(data.start, edges[j])
        some = inside > 0
        band = np.zeros((int(some.sum()), 3))
        band[:, j] = 1.0
        design.append(np.column_stack([band, data.covariates[some]]))
        time.append(inside[some])
        died.append((data.failed & (data.stop > edges[j]) & (data.stop <= edges[j + 1]))[some])
    peer = sm.GLM(
        np.concatenate(died).astype(float), np.vstack(design), family=sm.families.Poisson(),
        offset=np.log(np.concatenate(time)),
    ).fit(tol=1e-12)  # fmt: skip
    assert np.log(ours.rate) == pytest.approx(peer.params[:3], abs=1e-6)
    assert ours.coefficient == pytest.approx(peer.params[3:], abs=1e-6)
