"""The compound law beside GEMAct and aggregate on a shared case; both are installed by hand for this."""

import numpy as np
import pytest
from scipy.special import ndtr

from itops.aggregate import LossGroup, LossLaw, compound, discretise
from itops.severity import FloatArray

#: Negative binomial count of mean 1.5 with mixing cv2 1/5; log-normal loss exp(2 + 1.2 Z), 40 above 5.
COUNT, CV2, MU, SIGMA, DEDUCTIBLE, LIMIT = 1.5, 0.2, 2.0, 1.2, 5.0, 40.0


def lev(x: FloatArray) -> FloatArray:
    z = (np.log(np.maximum(x, 1e-300)) - MU) / SIGMA
    return np.asarray(np.exp(MU + SIGMA**2 / 2) * ndtr(z - SIGMA) + x * ndtr(-z))


def ours() -> LossLaw:
    base = float(lev(np.array([DEDUCTIBLE]))[0])
    step = LIMIT / 2**9
    loss = discretise(lambda x: lev(DEDUCTIBLE + np.minimum(x, LIMIT)) - base, LIMIT, step)
    return compound([LossGroup(expected_count=COUNT, mixing_cv2=CV2, probability=loss)], step=step, regime_cv=0.0)


def test_gemact() -> None:
    g = pytest.importorskip("gemact")
    model = g.LossModel(
        frequency=g.Frequency(dist="nbinom", par={"n": 1 / CV2, "p": 1 / (1 + CV2 * COUNT)}),
        severity=g.Severity(dist="lognormal", par={"shape": SIGMA, "scale": float(np.exp(MU))}),
        policystructure=g.PolicyStructure(layers=g.Layer(cover=LIMIT, deductible=DEDUCTIBLE)),
        aggr_loss_dist_method="fft",
        n_aggr_dist_nodes=2**14,
        sev_discr_method="localmoments",
        n_sev_discr_nodes=2**10,
        sev_discr_step=LIMIT / 2**9,
    )
    law = ours()
    assert float(model.mean()) == pytest.approx(law.mean, rel=1e-9)
    assert float(np.ravel(model.ppf(0.99))[0]) == pytest.approx(law.quantile(0.99), abs=2 * LIMIT / 2**9)


def test_aggregate() -> None:
    build = pytest.importorskip("aggregate").build
    made = build(
        f"agg shared {COUNT} claims {LIMIT} xs {DEDUCTIBLE} sev {np.exp(MU)!r} * lognorm {SIGMA} ! "
        f"mixed gamma {CV2**0.5!r}".replace("np.float64(", "").replace(")", ""),
        log2=16,
        bs=1 / 64,
    )
    law = ours()
    assert float(made.est_m) == pytest.approx(law.mean, rel=1e-4)
    for level in (0.9, 0.99, 0.999):
        assert float(made.q(level)) == pytest.approx(law.quantile(level), abs=0.2)
