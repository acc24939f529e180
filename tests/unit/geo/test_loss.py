"""Loss with uncertainty: the distributions, what places share, and that order and chunks change nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit, ndtr

from geo import chance
from geo.damage_spread import N_BINS, BadSpread, DamageSpread, means, quantile_table, shifted_curve
from geo.ep import EventLosses
from geo.loss import (
    ALL_SOURCES,
    BadLossInput,
    Binned,
    Chain,
    Correlation,
    CurveSet,
    EventLoss,
    Felt,
    Occurrences,
    Sources,
    Uncertainty,
    contributions,
    distribution,
    event_table,
    every_sample,
    quantiles,
    run_chunk,
    simulate,
    year_table,
)
from geo.terms import Level, Programme, Terms, with_columns

CURVES = CurveSet.make([((0.0, 1.0, 2.0, 6.0), (0.0, 0.2, 0.5, 1.0)), ((0.0, 4.0), (0.0, 1.0))])
NOTHING_SHARED = Correlation()


def programme(n: int, *, deductible: float = 0.0, limit: float = np.inf) -> Programme:
    item = np.arange(n)
    terms = with_columns(Terms.none(n), deductible=np.full(n, deductible), limit=np.full(n, limit))
    level = Level.make("site", item, terms)
    return Programme(n, item, (level,) if level else (), (), np.ones(n, dtype=bool))


def chain(n: int, **terms: float) -> Chain:
    return Chain(programme(n, **terms), None, np.arange(n) % max(n // 2, 1), max(n // 2, 1))


def felt(n: int, *, intensity: float = 1.5, sigma: float = 0.3, cell: int | None = None, event: int = 7,
         **assumed: object) -> Felt:  # fmt: skip
    key = chance.keys_of([f"L{i}" for i in range(n)])
    cells = np.full(n, cell, dtype=np.uint64) if cell is not None else key
    i = np.arange(n)
    return Felt(event, i, i, i % 2, np.full(n, 100.0), key, cells, np.full(n, intensity), np.full(n, sigma), CURVES,
                Uncertainty(**assumed))  # type: ignore[arg-type]  # fmt: skip


# ------------------------------------------------------------------------------------------- chance
def test_draws_equal_splitmix64_in_plain_python() -> None:
    mask = (1 << 64) - 1

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    golden = 0x9E3779B97F4A7C15
    # the published first outputs of SplitMix64 seeded with 1234567 (reference implementation by Vigna)
    state, first = 1234567, []
    for _ in range(3):
        state = (state + golden) & mask
        first.append(mix(state))
    assert first == [6457827717110365317, 3203168211198807973, 9817491932198370423]

    start, key, sample = int(chance.start_of(5, 9, chance.OWN)), 77, 11
    plain = mix((5 + golden) & mask)
    for part in (9, chance.OWN):
        plain = mix(plain ^ part)
    assert start == plain  # the same in every process and on every machine
    begin = mix(start ^ key)
    a, b = (mix((begin + (2 * sample + k) * golden) & mask) >> 11 for k in (1, 2))
    radius, angle = math.sqrt(-2 * math.log((a + 1) / 2**53)), 2 * math.pi * b / 2**53
    got = chance.normals(np.uint64(start), np.array([key], dtype=np.uint64), sample)
    assert got[0][0] == pytest.approx(radius * math.cos(angle), abs=1e-14)
    assert got[1][0] == pytest.approx(radius * math.sin(angle), abs=1e-14)


def test_draws_are_standard_normals_and_independent_over_places_and_samples() -> None:
    keys = chance.keys_of([str(i) for i in range(20_000)])
    start = chance.start_of(1, 2, chance.OWN)
    a, b = chance.normals(start, keys, 0)
    c, _ = chance.normals(start, keys, 1)
    d, _ = chance.normals(chance.start_of(1, 3, chance.OWN), keys, 0)
    for z in (a, b, c):
        assert stats.kstest(z, "norm").pvalue > 1e-3
    for other in (b, c, d, np.roll(a, 1)):
        assert abs(np.corrcoef(a, other)[0, 1]) < 4 / math.sqrt(len(a))


def test_keys_depend_on_every_text_and_its_column() -> None:
    keys = chance.keys_of(["A", "A", "B", "1"], ["1", "2", "1", "A"])
    assert len(set(keys.tolist())) == 4
    assert chance.keys_of(["A"], ["1"])[0] == keys[0]


def test_neighbourhoods_are_fields_of_the_asked_size() -> None:
    lon, lat = np.array([0.001, 0.002, 0.5, np.nan, np.nan]), np.array([52.001, 52.002, 52.0, 52.0, 1.0])
    own = np.arange(5, dtype=np.uint64)
    cells = chance.cells_of(lon, lat, 10.0, own)
    assert cells[0] == cells[1] != cells[2]
    assert cells[3] == own[3]
    assert cells[4] == own[4]


# ------------------------------------------------------------------------------------------- damage
@pytest.mark.parametrize("spread", [DamageSpread(), DamageSpread(0.1, 0.0, 0.0), DamageSpread(0.6, 0.5, 0.1)])
def test_the_table_has_mean_and_variance_of_the_distribution(spread: DamageSpread) -> None:
    table, mean = quantile_table(spread), means()
    assert table.mean(axis=1) == pytest.approx(mean, abs=2e-6)
    inner = slice(40, -20)
    assert table.var(axis=1)[inner] == pytest.approx(spread.variance(mean)[inner], rel=0.02)
    assert (np.diff(table, axis=1) >= 0).all()
    assert (np.diff(table, axis=0) >= -1e-9).all(), "more hazard would be less loss"


def test_the_table_against_scipys_beta_by_quadrature() -> None:
    spread = DamageSpread(0.3, 0.3, 0.3)
    k = 128
    m = means()[k]
    p0, p1 = 0.3 * (1 - m) ** 4, 0.3 * m**4
    mu = (m - p1) / (1 - p0 - p1)
    law = stats.beta(mu * (1 / 0.09 - 1), (1 - mu) * (1 / 0.09 - 1))
    for b in (500, 900):
        q = [((b + e) / N_BINS - p0) / (1 - p0 - p1) for e in (0, 1)]
        want = integrate.quad(law.ppf, *q)[0] / (q[1] - q[0])
        assert quantile_table(spread)[k, b] == pytest.approx(want, rel=1e-6)
    assert quantile_table(spread)[k, 5] == 0.0, "below the chance of zero there is no damage"


def test_a_shifted_curve_keeps_its_mean() -> None:
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    shifted = np.array([shifted_curve(1.0, z) for z in node])
    assert weight / weight.sum() @ shifted == pytest.approx(means(), abs=1e-6)
    assert (np.diff(shifted_curve(1.0, 2.5)) > 0).all()
    assert shifted_curve(0.0, 3.0) == pytest.approx(means())


def test_a_shift_of_the_odds_is_another_v_half_of_emanuels_curve() -> None:
    v = np.linspace(30, 90, 7) - 25.7
    for v_half in (40.0, 60.0, 90.0):
        cubed = (v / (v_half - 25.7)) ** 3
        other = (v / (74.7 - 25.7)) ** 3
        shift = 3 * math.log((74.7 - 25.7) / (v_half - 25.7))
        assert expit(np.log(other) + shift) == pytest.approx(cubed / (1 + cubed))


@pytest.mark.parametrize("given", [{"spread": 0.0}, {"spread": 1.0}, {"zero": 1.0}, {"one": -0.1}, {"power": 1.0}])
def test_impossible_spreads_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(BadSpread):
        quantile_table(DamageSpread(**given))


# ------------------------------------------------------------------------------------------- samples
def twin(f: Felt, sample: int) -> np.ndarray:
    """The ground-up losses by NumPy, from the published formulas and the table."""
    a = f.assumed
    one = np.array([sample])
    eh, ed = (z[0] for z in chance.event_normals(a.seed, f.event, chance.EVENT, one))
    shift = chance.event_normals(a.seed, f.event, chance.CURVE, one)[0][0]
    lh, ld = chance.normals(chance.start_of(a.seed, f.event, chance.LOCAL), f.cell, sample)
    oh, od = chance.normals(chance.start_of(a.seed, f.event, chance.OWN), f.key, sample)
    wh, wd = a.hazard_correlation.weights, a.damage_correlation.weights
    intensity = f.intensity * np.exp(f.sigma_ln * (wh[0] * eh + wh[1] * lh + wh[2] * oh))
    u = ndtr(wd[0] * ed + wd[1] * ld + wd[2] * od)[f.item_place]
    mean = f.curves.mean(f.item_curve, intensity[f.item_place])
    mean = np.interp(mean, means(), shifted_curve(a.curve_sigma, shift))
    table = quantile_table(a.damage)
    column = np.minimum((u * N_BINS).astype(int), N_BINS - 1)
    ratio = np.array([np.interp(m, means(), table[:, c]) for m, c in zip(mean, column, strict=True)])
    return ratio * f.value


def test_compiled_samples_equal_the_numpy_twin() -> None:
    f = felt(300, n_samples=10)
    out = np.empty(300)
    for sample in (0, 3, 9):
        f.draw(sample, ALL_SOURCES, out)
        assert out == pytest.approx(twin(f, sample), rel=1e-9, abs=1e-9)


def test_chunks_order_and_neighbours_change_nothing() -> None:
    f = felt(40, n_samples=30)
    whole = simulate(chain(40, deductible=5.0), f, 30)
    parts = [run_chunk(chain(40, deductible=5.0), f, [s]) for s in range(30)]
    assert np.array_equal(whole.total, np.concatenate([p.total for p in parts], axis=1))
    # half of the places alone, in another order: the same losses for each
    back = np.arange(40)[::-1][:20]
    i = np.arange(20)
    half = Felt(f.event, i, i, f.item_curve[back], f.value[back], f.key[back], f.cell[back], f.intensity[back],
                f.sigma_ln[back], f.curves, f.assumed)  # fmt: skip
    a, b = np.empty(40), np.empty(20)
    f.draw(4, ALL_SOURCES, a)
    half.draw(4, ALL_SOURCES, b)
    assert np.array_equal(a[back], b)


def test_another_seed_and_another_event_are_other_losses_and_the_same_seed_the_same() -> None:
    totals = [simulate(chain(20), felt(20, **given), 10).total for given in ({}, {}, {"seed": 2}, {"event": 8})]
    assert np.array_equal(totals[0], totals[1])
    assert not np.array_equal(totals[0], totals[2])
    assert not np.array_equal(totals[0], totals[3])


def test_the_sampled_mean_is_the_mean_of_the_curve() -> None:
    f = felt(2000, sigma=0.0, hazard_correlation=NOTHING_SHARED, damage_correlation=NOTHING_SHARED, curve_sigma=0.0)
    want = float((f.curves.mean(f.item_curve, f.intensity) * f.value).sum())
    got = distribution(simulate(chain(2000), f, 60))["gul"]
    assert abs(got["mean"] - want) < 4 * got["mean_se"]


@pytest.mark.parametrize("given", [{}, {"cell": 3}, {"sigma": 0.0}, {"curve_sigma": 1.5}])
def test_more_hazard_is_never_less_loss_in_any_sample(given: dict[str, float]) -> None:
    before = None
    for intensity in (0.0, 0.05, 0.4, 1.0, 2.2, 5.0, 9.0):
        f = felt(30, intensity=intensity, **given)  # type: ignore[arg-type]
        run = run_chunk(chain(30, deductible=4.0, limit=60.0), f, list(range(15)))
        if before is not None:
            assert (run.total >= before - 1e-9).all()
        before = run.total


def test_insured_is_never_more_than_ground_up() -> None:
    total = simulate(chain(50, deductible=3.0, limit=70.0), felt(50), 40).total
    assert (total[1] <= total[0]).all()
    assert (total[2] <= total[1]).all()


def test_a_large_book_keeps_its_spread_where_places_share_and_loses_it_where_they_do_not() -> None:
    def cv(n: int, **assumed: object) -> float:
        got = distribution(simulate(chain(n), felt(n, cell=1, curve_sigma=0.0, **assumed), 200))["gul"]  # type: ignore[arg-type]
        return got["sd"] / got["mean"]

    alone = {"hazard_correlation": NOTHING_SHARED, "damage_correlation": NOTHING_SHARED}
    assert cv(3200, **alone) / cv(50, **alone) == pytest.approx(math.sqrt(50 / 3200), rel=0.35)
    # doubling the places of one postcode does not halve, nor cut by the root of two, the coefficient of variation
    assert cv(100) / cv(50) > 0.9
    assert cv(3200) / cv(50) > 0.8


@pytest.mark.parametrize("kind", ["hazard_correlation", "damage_correlation"])
def test_the_event_is_shared_across_neighbourhoods_and_a_neighbourhood_only_within_itself(kind: str) -> None:
    other = {"hazard_correlation": "damage_correlation", "damage_correlation": "hazard_correlation"}[kind]

    def kept(cell: int | None, shared: Correlation) -> float:
        """What is left of the coefficient of variation when 50 places become 800."""

        def cv(n: int) -> float:
            f = felt(n, cell=cell, curve_sigma=0.0, **{kind: shared, other: NOTHING_SHARED})  # type: ignore[arg-type]
            got = distribution(simulate(chain(n), f, 200))["gul"]
            return got["sd"] / got["mean"]

        return cv(800) / cv(50)

    alone = math.sqrt(50 / 800)
    assert kept(None, Correlation(0.5, 0.0)) > 0.6
    assert kept(1, Correlation(0.0, 0.5)) > 0.6
    assert kept(None, Correlation(0.0, 0.5)) == pytest.approx(alone, rel=0.35)


def test_demand_surge_raises_large_events_before_the_terms() -> None:
    f = felt(50, n_samples=40)
    plain = simulate(chain(50, limit=70.0), f, 40).total
    start = float(np.median(plain[0]))
    surged = simulate(replace(chain(50, limit=70.0), surge=((start, 1.4),)), f, 40).total
    large = plain[0] >= start
    assert surged[0] == pytest.approx(np.where(large, 1.4, 1.0) * plain[0])
    assert (surged[1] <= 50 * 70.0).all()  # limits hold after it
    assert (surged[1][large] < 1.4 * plain[1][large]).any()
    assert np.array_equal(surged[1][~large], plain[1][~large])


def test_contributions_name_each_source_and_what_correlation_adds() -> None:
    f = felt(400, cell=1)
    told = contributions(chain(400), f, 60)
    whole = distribution(simulate(chain(400), f, 60))["gul"]["sd"]
    assert set(told) == {"hazard", "curve", "damage", "all_independent"}
    assert all(0 < told[name]["gul"] < whole * 1.1 for name in ("hazard", "curve", "damage"))
    assert told["all_independent"]["gul"] < whole
    silent = simulate(chain(400), f, 5, sources=Sources(False, False, False)).total
    assert silent.std(axis=1) == pytest.approx(0.0, abs=1e-9)


def test_members_of_an_ensemble_are_taken_in_turn() -> None:
    f = felt(4, sigma=0.0, curve_sigma=0.0)
    f = Felt(f.event, f.item, f.item_place, f.item_curve, f.value, f.key, f.cell, np.array([[1.0] * 4, [2.0] * 4]),
             f.sigma_ln, f.curves, f.assumed)  # fmt: skip
    out = np.empty(4)
    for sample, intensity in ((0, 1.0), (1, 2.0), (2, 1.0)):
        f.draw(sample, Sources(True, False, False), out)
        assert out == pytest.approx(f.curves.mean(f.item_curve, np.full(4, intensity)) * 100)


def test_an_unknown_or_negative_intensity_is_refused() -> None:
    for bad in (math.nan, -1.0):
        with pytest.raises(BadLossInput):
            felt(2, intensity=bad)
    with pytest.raises(BadLossInput, match="shares"):
        Correlation(0.6, 0.5)
    with pytest.raises(BadLossInput, match="fall"):
        CurveSet.make([((0.0, 1.0), (0.5, 0.2))])
    with pytest.raises(BadLossInput, match="samples"):
        Uncertainty(n_samples=1)


# ------------------------------------------------------------------------------------------- binned damage, tables
def binned(n: int = 500, **assumed: object) -> Binned:
    i = np.arange(n)
    cdf = np.array([[0.5, 0.8, 1.0], [0.1, 0.2, 1.0]])
    return Binned(3, i, i, i % 2, np.full(n, 10.0), chance.keys_of(i.astype(str)), chance.keys_of(i.astype(str)), cdf,
                  np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.5, 1.0]), Uncertainty(**assumed))  # type: ignore[arg-type]  # fmt: skip


def test_binned_damage_has_the_mean_of_its_bins() -> None:
    b = binned(damage_correlation=NOTHING_SHARED)
    assert b.means[:2] == pytest.approx([10 * (0.3 * 0.25 + 0.2 * 0.75), 10 * (0.1 * 0.25 + 0.8 * 0.75)])
    got = distribution(simulate(chain(500), b, 100))["gul"]
    assert abs(got["mean"] - b.means.sum()) < 4 * got["mean_se"]
    out = np.empty(500)
    b.draw(0, ALL_SOURCES, out)
    assert 0.2 < (out == 0).mean() < 0.4  # chances of zero: 0.5 and 0.1


def test_tables_of_events_and_years() -> None:
    events = [EventLoss(1, 0.1, np.array([[5.0, 15.0]] * 3), 20.0), EventLoss(2, 0.2, np.zeros((3, 2)), 20.0)]
    table = event_table(events, "gul")
    assert table["event_id"] == [1]
    assert table["mean"] == [10.0]
    assert table["sd"] == [pytest.approx(math.sqrt(50))]
    assert EventLosses.make(table["rate"], table["mean"], table["sd"], table["exposed"]).aal == pytest.approx(1.0)

    happened = Occurrences(np.array([3, 0, 1]), np.array([1, 1, 2]), 5, np.array([10.0, 20.0, 30.0]))
    years, sample = year_table(events, happened, "gul", seed=4)
    assert years.year.tolist() == [0, 3]
    assert years.day is not None
    assert years.day.tolist() == [20.0, 10.0]
    assert years.loss.tolist() == [events[0].total[0, s] for s in sample]
    again, _ = year_table(events, happened, "il", seed=4)
    assert again.loss.tolist() == years.loss.tolist(), "the same sample in every perspective"

    full, _ = every_sample(events, happened, "gul", 2)
    assert full.n_years == 10
    assert list(zip(full.year.tolist(), full.loss.tolist(), strict=True)) == [(0, 5), (1, 15), (6, 5), (7, 15)]


def test_a_distribution_is_its_order_statistics_and_its_mean_has_an_error() -> None:
    """0..100 in any order: the quantiles are known, and the mean's error is sd over the root of how many there are."""
    told = quantiles(np.random.default_rng(3).permutation(np.arange(101.0)))
    assert (told["p5"], told["p50"], told["p95"], told["mean"]) == pytest.approx((5.0, 50.0, 95.0, 50.0))
    assert told["sd"] == pytest.approx(np.sqrt(101 * 102 / 12))  # n (n + 1) / 12 with n - 1 below
    assert told["mean_se"] == pytest.approx(told["sd"] / np.sqrt(101))
