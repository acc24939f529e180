"""The compound law beside GEMAct and aggregate on a shared case: their figures, kept, and themselves where installed."""

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


#: What the two printed for this case, each with the options of its test below: mean, standard deviation, and the 90,
#: 99, 99.5 and 99.9 % points. GEMAct 1.3.0 (fft, 2^14 nodes, local moments), aggregate 0.30.1 (log2 16, bs 1/64).
GOLDEN = {
    "gemact": (12.425020768307474, 18.70435258025784, (40.0, 80.0, 88.83675464320626, 115.42521994134897)),
    "aggregate": (12.42501984236183, 18.704347255980515, (40.0, 80.0, 88.8125, 115.4375)),
}


@pytest.mark.parametrize("peer", sorted(GOLDEN))
def test_the_figures_that_the_peers_printed(peer: str) -> None:
    mean, deviation, quantiles = GOLDEN[peer]
    law = ours()
    assert law.mean == pytest.approx(mean, rel=1e-7)
    assert law.variance**0.5 == pytest.approx(deviation, rel=2e-5)
    told = [law.quantile(level) for level in (0.9, 0.99, 0.995, 0.999)]
    assert told == pytest.approx(quantiles, abs=2 * LIMIT / 2**9)


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
