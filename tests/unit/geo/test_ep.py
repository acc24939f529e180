"""Curves against a brute-force count, covers against a loop over the years."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from geo import ep_files
from geo.covers import (
    BadCover,
    Excess,
    aggregate_recovered,
    demand_surge,
    hours_clause,
    read_bands,
    recovered,
    reinstatement_premium,
)
from geo.ep import BadLossTable, Curve, EventLosses, YearLosses, descending, summary


@pytest.fixture
def events() -> EventLosses:
    rng = np.random.default_rng(7)
    mean = np.round(rng.lognormal(3, 1.5, 300), 0)  # whole numbers, so that some are equal
    return EventLosses.make(rng.uniform(1e-4, 0.02, 300), mean, 0.5 * mean, mean * 10)


def test_oep_of_means_is_the_product_over_events(events: EventLosses) -> None:
    loss, probability = events.oep()
    for x, p in zip(loss, probability, strict=True):
        none = 1.0
        for rate, mean in zip(events.rate_per_year, events.mean, strict=True):
            if mean >= x:
                none *= np.exp(-rate)  # no event of this kind in the year
        assert p == pytest.approx(1 - none, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_largest_first_also_where_values_differ_by_their_last_bits(n: int) -> None:
    rng = np.random.default_rng(n)
    close = np.nextafter(1e6, 2e6) + np.arange(n) * np.spacing(1e6)
    for values in (rng.permutation(close), rng.lognormal(3, 3, n), np.zeros(n), rng.choice([0.0, -0.0, 5.0], n)):
        order, found = descending(values)
        assert sorted(order.tolist()) == list(range(n))
        assert (found == values[order]).all()
        assert (found == -np.sort(-values)).all()


def test_exceedance_and_levels_are_counts(events: EventLosses) -> None:
    years = events.simulate(2000, np.random.default_rng(3))
    per_year = [years.loss[years.year == y] for y in range(2000)]
    annual = np.array([x.sum() for x in per_year])
    largest = np.array([x.max() if len(x) else 0.0 for x in per_year])
    assert years.annual() == pytest.approx(annual)
    assert np.array_equal(years.largest(), largest)
    for values in (annual, largest):
        curve = Curve.of(values)
        for x in (0.0, 1.0, float(np.median(values)), float(values.max()), 1e12):
            assert curve.exceedance(x) == sum(v >= x for v in values) / 2000
        for period in (2.0, 7.0, 100.0, 2000.0):
            level = curve.level(period)
            k = int(2000 // period)
            assert level.loss == sorted(values, reverse=True)[k - 1]
            assert level.tvar == pytest.approx(np.mean(sorted(values, reverse=True)[:k]))
            assert level.low <= level.loss <= level.high
            assert level.tvar >= level.loss


def test_simulated_years_agree_with_the_compound_poisson_moments(events: EventLosses) -> None:
    annual = events.simulate(40_000, np.random.default_rng(11)).annual()
    assert annual.mean() == pytest.approx(events.aal, abs=4 * events.aal_sd / 200)
    assert annual.std() == pytest.approx(events.aal_sd, rel=0.1)


def test_the_interval_of_a_return_level_holds_the_truth_nine_times_in_ten() -> None:
    rng = np.random.default_rng(5)
    truth = -np.log(1 / 50)  # exponential years
    hits = 0
    for _ in range(400):
        level = Curve.of(rng.exponential(size=2000)).level(50)
        hits += level.low <= truth <= level.high
    assert 0.85 <= hits / 400 <= 0.97


def test_the_same_seed_gives_the_same_years(events: EventLosses) -> None:
    a, b = (events.simulate(500, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(a.loss, b.loss)
    assert not np.array_equal(a.loss, events.simulate(500, np.random.default_rng(10)).loss)


def test_a_period_beyond_the_years_is_refused() -> None:
    with pytest.raises(BadLossTable, match="1001"):
        Curve.of(np.arange(1000.0)).level(1001)


@pytest.mark.parametrize(
    ("rate", "mean", "sd", "told"),
    [([0.1, -1], [1, 2], None, "rate"), ([0.1, 0.1], [1, np.nan], None, "mean"), ([0.1], [1], [-1], "sd"),
     ([0.1, 0.0], [1, 2], None, "never"), ([], [], None, "no events")],
)  # fmt: skip
def test_bad_event_tables_are_refused(rate: list[float], mean: list[float], sd: list[float] | None, told: str) -> None:
    with pytest.raises(BadLossTable, match=told):
        EventLosses.make(rate, mean, sd)


@pytest.fixture
def years() -> YearLosses:
    rng = np.random.default_rng(2)
    n = 4000
    return YearLosses.make(rng.integers(0, 1000, n), rng.lognormal(2, 1, n), 1000, rng.uniform(0, 365, n))


@pytest.mark.parametrize("reinstatements", [None, 0, 1, 2])
def test_excess_with_reinstatements_is_the_loop_over_each_year(years: YearLosses, reinstatements: int | None) -> None:
    cover = Excess(5.0, 10.0, reinstatements, annual_deductible=3.0, share=0.8, premium=4.0,
                   reinstatement_rates=(1.0, 0.5))  # fmt: skip
    paid = recovered(years, cover)
    premium = reinstatement_premium(years, cover)
    for year in range(0, 1000, 7):
        deductible, left, expected, used = 3.0, cover.annual_limit, [], 0.0
        for loss in years.loss[years.year == year]:
            layer = min(max(loss - 5.0, 0.0), 10.0)
            kept = min(layer, deductible)
            deductible -= kept
            out = min(layer - kept, left)
            left -= out
            used += out
            expected.append(0.8 * out)
        assert paid.loss[paid.year == year] == pytest.approx(np.array(expected), abs=1e-9)
        if reinstatements:
            rates = (1.0, 0.5)
            due = sum(
                min(max(used - 10.0 * i, 0.0), 10.0) / 10.0 * rates[min(i, 1)] * 4.0 * 0.8
                for i in range(reinstatements)
            )
            assert premium[year] == pytest.approx(due, abs=1e-9)
        else:
            assert premium[year] == 0


def test_aggregate_cover_answers_to_the_year(years: YearLosses) -> None:
    paid = aggregate_recovered(years, 40.0, 25.0, 0.5)
    assert paid == pytest.approx([min(max(years.loss[years.year == y].sum() - 40, 0), 25) * 0.5 for y in range(1000)])
    assert 0 < np.count_nonzero(paid) < 1000


def test_hours_clause_joins_losses_within_the_window_only() -> None:
    table = YearLosses.make([0, 0, 0, 1], [1.0, 2.0, 4.0, 8.0], 2, [10.0, 12.9, 13.1, 10.5])
    joined = hours_clause(table, 72)
    assert joined.loss.tolist() == [3.0, 0.0, 4.0, 8.0]
    assert joined.annual().tolist() == table.annual().tolist()
    with pytest.raises(BadLossTable, match="day"):
        hours_clause(YearLosses.make([0], [1.0], 1), 72)


def test_the_reinsured_may_choose_the_window() -> None:
    """Days 0, 2 and 4 with 1, 8 and 8: from the first loss on 72 hours hold 9, the best window holds 16."""
    table = YearLosses.make([0, 0, 0], [1.0, 8.0, 8.0], 1, [0.0, 2.0, 4.0])
    assert hours_clause(table, 72).loss.tolist() == [9.0, 0.0, 8.0]
    assert hours_clause(table, 72, windows="best").loss.tolist() == [1.0, 16.0, 0.0]
    with pytest.raises(BadCover, match="neither first nor best"):
        hours_clause(table, 72, windows="worst")


@pytest.mark.parametrize("windows", ["first", "best"])
def test_windows_keep_every_loss_and_the_best_one_is_the_dearest_there_is(windows: str) -> None:
    rng = np.random.default_rng(3)
    table = YearLosses.make(rng.integers(0, 40, 300), rng.lognormal(0, 1, 300), 40, rng.uniform(0, 40, 300))
    joined = hours_clause(table, 168, windows=windows)
    assert joined.annual() == pytest.approx(table.annual())
    assert table.day is not None
    for year in range(40):
        mine = table.year == year
        days, losses = table.day[mine], table.loss[mine]
        dearest = max((losses[(days >= d) & (days <= d + 7)].sum() for d in days), default=0.0)
        largest = float(joined.loss[mine].max(initial=0.0))
        assert largest <= dearest * (1 + 1e-12)
        if windows == "best":
            assert largest == pytest.approx(dearest)


def test_demand_surge_is_a_step_that_can_be_left_out(years: YearLosses) -> None:
    assert demand_surge(years, []) is years
    surged = demand_surge(years, [(10.0, 1.1), (30.0, 1.3)])
    expected = [x * (1.3 if x >= 30 else 1.1 if x >= 10 else 1.0) for x in years.loss]
    assert surged.loss == pytest.approx(expected)
    with pytest.raises(BadCover):
        demand_surge(years, [(10.0, 0.9)])
    assert read_bands("10:1.1,30:1.3") == ((10.0, 1.1), (30.0, 1.3))
    for text in ("10", "a:b", "10:0.9", "30:1.1,10:1.2", "10:inf"):
        with pytest.raises(BadCover):
            read_bands(text)


def test_from_file_to_file_with_covers(tmp_path: Path) -> None:
    table = tmp_path / "ylt.csv"
    table.write_text("year,loss\n1,100\n1,50\n3,80\n")
    cover = tmp_path / "cover.json"
    cover.write_text(json.dumps({"excess": {"attachment": 60, "limit": 30, "reinstatements": 0},
                                 "aggregate": {"attachment": 100, "limit": 10}}))  # fmt: skip
    told = ep_files.run(table, tmp_path / "ep.csv", n_years=4, seed=1, return_periods=(2.0, 4.0), ylt_out=None,
                        cover=cover)  # fmt: skip
    # year 1: 150 - 30 = 120, aggregate pays 10; year 3: 80 - 20 = 60
    assert told["aal"] == pytest.approx((110 + 60) / 4)
    assert told["cover"]["aggregate_recovered_aal"] == pytest.approx(2.5)
    lines = (tmp_path / "ep.csv").read_text().splitlines()
    assert lines[0].startswith("curve,return_period,loss")
    assert any(line.startswith("AEP,4.0,110") for line in lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [("a,b\n1,2\n", "neither"), ("rate,mean\n0.1,x\n", "line 2: mean"), ("rate,mean\n0.1,1\n0.1,-2\n", "line 3: mean"),
     ("rate\n0.1\n", "lacks mean"), ("year,loss\n9,1\n", "line 2: year"),
     ("event_id,rate,mean\n1,0.1,5\n\n1,0.1,7\n", "line 4: event_id: event 1 stands in line 2 before"),
     ("rate,mean\n0.1,1\n0,2\n", "line 3: rate: 0: an event that never happens"),
     ("rate,mean,exposed\n0.1,5,4\n", "line 2: exposed: 4 is less than the mean loss 5"),
     ("rate,mean\n0.1,NaN\n", "line 2: mean: nan is negative or not a finite"),
     ("rate,mean\n0.1,\n", "line 2: mean: it is empty"), ("rate,mean\n", "a header and no rows"),
     ("rate,mean,rate\n0.1,5,3\n", "the header has rate more than once"),
     ("rate,mean\n\n0.1\n", "line 3: 1 cells under 2 names"), ("rate;mean\n1;2\n", "it has rate;mean")],
)  # fmt: skip
def test_bad_tables_are_told_with_line_and_field(text: str, told: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(InvalidInput, match=told):
        ep_files.read_losses(table, 4)


def test_oep_of_means_at_a_return_period(tmp_path: Path) -> None:
    table = tmp_path / "elt.csv"
    table.write_text("event_id,rate,mean\n1,0.5,10\n2,0.1,100\n3,0.01,1000\n")
    told = ep_files.run(table, tmp_path / "ep.csv", n_years=200, seed=1, return_periods=(5.0, 50.0, 200.0),
                        ylt_out=None, cover=None)  # fmt: skip
    means = {line["return_period"]: line["loss"] for line in told["lines"] if line["curve"] == "OEP of means"}
    # P(>= 1000) = 0.00995, P(>= 100) = 0.104, P(>= 10) = 0.457
    assert means == {5.0: 10.0, 50.0: 100.0, 200.0: 1000.0}


def test_the_summary_tells_the_largest_of_a_year_apart_from_its_sum() -> None:
    """Ten years by hand: one with 60 and 50, one with 100, the others without."""
    told = summary(YearLosses.make([0, 0, 1], [60.0, 50.0, 100.0], 10), (5.0, 10.0, 20.0))
    levels = {name: [point.loss for point in curve] for name, curve in told["curves"].items()}
    assert levels == {"AEP": [100.0, 110.0], "OEP": [60.0, 100.0]}
    assert (told["aal"], told["n_occurrences"], told["periods_left_out"]) == (21.0, 3, [20.0])
    assert told["aal_se"] == pytest.approx(np.std([110.0, 100.0] + [0.0] * 8, ddof=1) / np.sqrt(10))
