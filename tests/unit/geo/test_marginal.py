"""The marginal price of one more policy: against a count by other means, limits and an addition that must hold."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.marginal import annual_losses, co_tvar, price, tvar


def table(seed: int = 1, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.002, 0.02, n), rng.pareto(2.0, n) * 100, rng.pareto(2.0, n) * 5


def run(**changed: object) -> object:
    rate, book, policy = table()
    facts = {"n_years": 20_000, "level": 0.99, "cost_of_capital": 0.08, "expense": 0.25}
    return price(rate, book, policy, rng=np.random.default_rng(7), **(facts | changed))  # type: ignore[arg-type]


def test_it_is_a_plain_count_over_the_same_years() -> None:
    """Brute force: the years one by one in Python from the same draws, sorted lists, sums of the worst 200."""
    rate, book, policy = table()
    found = run()
    rng = np.random.default_rng(7)
    n = int(rng.poisson(rate.sum() * 20_000))
    u = rng.random(n) * rate.sum()
    edges = np.cumsum(rate)
    years = rng.integers(0, 20_000, n)
    sums = [[0.0, 0.0] for _ in range(20_000)]
    for value, year in zip(u, years, strict=True):
        event = next(i for i, edge in enumerate(edges) if value < edge)
        sums[year][0] += book[event]
        sums[year][1] += policy[event]
    worst = sorted(sums, key=lambda pair: -(pair[0] + pair[1]))[:200]
    alone = sorted((pair[0] for pair in sums), reverse=True)[:200]
    assert found.tvar_both == pytest.approx(sum(a + b for a, b in worst) / 200)
    assert found.marginal_tvar == pytest.approx(sum(a + b for a, b in worst) / 200 - sum(alone) / 200)
    assert found.co_tvar == pytest.approx(sum(b for _, b in worst) / 200)
    assert found.aal_policy == pytest.approx(float((rate * policy).sum()))
    assert found.premium == pytest.approx((found.aal_policy + 0.08 * (found.marginal_tvar - found.aal_policy)) / 0.75)


def test_the_years_have_the_mean_and_the_spread_of_the_compound_poisson_law() -> None:
    rate, book, _ = table()
    annual = annual_losses(rate, book[:, None], 200_000, np.random.default_rng(3))[:, 0]
    assert annual.mean() == pytest.approx(rate @ book, rel=0.03)
    assert annual.std() == pytest.approx(np.sqrt(rate @ book**2), rel=0.05)


def test_a_copy_of_the_book_in_small_costs_its_share_and_a_hedge_like_policy_less() -> None:
    rate, book, _ = table()
    options = {"n_years": 20_000, "level": 0.99, "cost_of_capital": 0.1, "expense": 0.0}
    same = price(rate, book, book * 0.01, rng=np.random.default_rng(1), **options)
    assert same.marginal_tvar == pytest.approx(0.01 * same.tvar_book)
    assert same.co_tvar == pytest.approx(0.01 * same.tvar_book)
    elsewhere = np.where(np.argsort(np.argsort(book)) < 30, book.max(), 0.0)
    apart = price(rate, book, elsewhere * 0.01, rng=np.random.default_rng(1), **options)
    assert apart.marginal_tvar < apart.tvar_policy_alone, "what is lost in other years needs less capital"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5000), st.floats(0.5, 0.995))
def test_co_tvar_adds_up_and_marginal_lies_between(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.pareto(1.5, (500, 4)) * (rng.random((500, 4)) < 0.3)
    assert co_tvar(columns, level).sum() == pytest.approx(tvar(columns.sum(axis=1), level))
    book, one = columns[:, :3].sum(axis=1), columns[:, 3]
    added = tvar(book + one, level) - tvar(book, level)
    # TVaR is subadditive, and the policy's share of the tail is at least what it adds
    assert added <= tvar(one, level) + 1e-9
    assert added <= co_tvar(columns, level)[3] + 1e-9
    assert added >= -1e-9


def test_what_is_refused() -> None:
    for changed, told in (
        ({"level": 1.0}, "level|hold less"),
        ({"n_years": 1000}, "hold less than 20"),
        ({"expense": 1.0}, "expense"),
        ({"cost_of_capital": -0.1}, "cost of capital"),
    ):
        with pytest.raises(InvalidInput, match=told):
            run(**changed)


def test_the_command(tmp_path: Path) -> None:
    from tocsin.cli import app

    rate, book, policy = table()
    for name, losses in (("book", book), ("policy", policy)):
        rows = [f"e{i},{r!r},{x!r}" for i, (r, x) in enumerate(zip(rate.tolist(), losses.tolist(), strict=True))]
        (tmp_path / f"{name}.csv").write_text("event_id,rate,mean\n" + "\n".join(rows) + "\n")

    def call(second: str, *more: str) -> object:
        arguments = ["marginal-price", str(tmp_path / "book.csv"), str(tmp_path / second), "--json", *more]
        return CliRunner().invoke(app, arguments)

    options = ("--years", "20000", "--seed", "7", "--cost-of-capital", "0.08", "--expense", "0.25")
    done = call("policy.csv", *options)
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["premium"] == pytest.approx(run().premium)
    (tmp_path / "other.csv").write_text("event_id,rate,mean\nx,0.01,5\n")
    assert "event 'x' is not in book.csv" in str(call("other.csv").exception)
    (tmp_path / "rate.csv").write_text("event_id,rate,mean\ne0,0.9,5\n")
    assert "has rate 0.9, in book.csv" in str(call("rate.csv").exception)
    (tmp_path / "some.csv").write_text(
        f"event_id,rate,mean\ne0,{rate[0]!r},5\n".replace("np.float64(", "").replace("),", ",")
    )
    assert json.loads(call("some.csv", *options).stdout)["aal_policy"] == pytest.approx(5 * rate[0])
