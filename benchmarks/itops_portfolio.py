"""What the three reference portfolios would earn under the model and under the stress set.

`nice -n 10 python -m benchmarks.itops_portfolio` prints the table of docs/methods/itops.md, section 10: each portfolio
at its own size (all of them SIMULATED), its loss ratio over simulated years and under each scenario, and the three
together.
"""

from itops import reference
from itops.portfolio import plain_portfolio
from itops.quote import Quote
from itops.underwrite import load_priors, price_request

N_YEARS, SEED = 20_000, 1


def quotes() -> dict[str, Quote]:
    """The three, priced."""
    priors = load_priors()[0]
    return {name: price_request(*reference.portfolio(name, priors)).quote for name in reference.NAMES}


def table(made: dict[str, Quote]) -> str:
    """The table in Markdown: loss ratios, the premium asked being the denominator."""
    columns = {name.replace("_", " "): [quote] for name, quote in made.items()} | {"together": list(made.values())}
    told = {
        name: plain_portfolio(members, n_years=N_YEARS, seed=SEED, capacity=None) for name, members in columns.items()
    }
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for label, key in (
        ("simulated years, mean", "mean"), ("median", "p50"), ("95 % of years below", "p95"),
        ("share of years above the premium", "share_of_years_above_1"),
    ):  # fmt: skip
        rows.append([label, *(f"{100 * one['loss_ratio'][key]:.0f} %" for one in told.values())])
    for k, scenario in enumerate(told["together"]["stress"]):
        if scenario["scenario"] != "base":
            rows.append([scenario["en"], *(f"{100 * one['stress'][k]['loss_ratio']:.0f} %" for one in told.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(table(quotes()))
