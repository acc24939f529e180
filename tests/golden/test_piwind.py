"""PiWind's ten locations through its own tables against oasislmf (piwind/make.py made the numbers)."""

import json
from pathlib import Path

import numpy as np
import pytest

from geo import loss, terms_files
from geo.ep import Curve
from geo.estimate import PLACE_FIELDS, Places, chain_of
from geo.loss import Correlation, EventLoss, Uncertainty
from geo.oasis_model import OasisModel

ORACLE = Path(__file__).parent / "piwind" / "oracle.json"
N = 50


@pytest.fixture(scope="module")
def events(shared_data: Path) -> tuple[OasisModel, dict[int, tuple[float, EventLoss]]]:
    oed = shared_data / "cat" / "oed"
    loaded = terms_files.load(oed / "SourceLocOEDPiWind10.csv", oed / "SourceAccOEDPiWind.csv", keep=(*PLACE_FIELDS,))
    model = OasisModel.read(oed / "piwind_model")
    assumed = Uncertainty(n_samples=N, damage_correlation=Correlation())
    over = model.events(loaded.book, Places.of(loaded.book), assumed)
    assert not over.unknown
    chain = chain_of(loaded)
    made = {}
    for event in over:
        total = loss.simulate(chain, event, N).total
        made[event.event] = (float(event.means.sum()), EventLoss(event.event, over.rate_per_year(event.event), total,
                                                                event.exposed))  # fmt: skip
    return model, made


def test_item_means_equal_oasis_and_sampled_means_are_within_their_error(
    events: tuple[OasisModel, dict[int, tuple[float, EventLoss]]],
) -> None:
    _, made = events
    oracle = json.loads(ORACLE.read_text())
    theirs = {int(e): row for e, row in oracle["events"].items()}
    assert len(theirs) > 100
    apart = []
    for event, row in theirs.items():
        mean, mine = made[event]
        assert mean == pytest.approx(row["sum_of_item_means"], rel=2e-3), event  # the oracle works in single precision
        gul = mine.total[0]
        error = np.sqrt(gul.var(ddof=1) / N + row["sd"] ** 2 / oracle["n_samples"])
        apart.append((gul.mean() - row["mean"]) / error if error > 0 else 0.0)
    z = np.abs(apart)
    assert (z > 3).mean() < 0.02
    assert z.max() < 5


def test_average_annual_loss_and_curves_by_its_occurrences(
    events: tuple[OasisModel, dict[int, tuple[float, EventLoss]]],
) -> None:
    model, made = events
    oracle = json.loads(ORACLE.read_text())
    losses = [mine for _, mine in made.values()]
    years, _ = loss.every_sample(losses, model.occurrences, "gul", N)
    assert years.n_years == model.occurrences.n_years * N
    mine = years.annual().mean()
    assert mine == pytest.approx(sum(e.rate_per_year * e.total[0].mean() for e in losses))
    assert mine == pytest.approx(oracle["aal"], rel=0.02)
    aep, oep = Curve.of(years.annual()), Curve.of(years.largest())
    for period in (10, 100, 250):
        assert aep.level(period).loss >= oep.level(period).loss > 0
        assert oep.exceedance(oep.level(period).loss) >= 1 / period - 1e-12
