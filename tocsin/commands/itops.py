"""`tocsin quote`: prices IT-operations cover."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup


class _QuoteGroup(TyperGroup):
    """`tocsin quote FILE` is `tocsin quote issue FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["issue", *args]
        return super().parse_args(ctx, args)


quotes = typer.Typer(
    cls=_QuoteGroup,
    no_args_is_help=True,
    help="Price IT-operations cover: `tocsin quote SUBMISSION.json`.",
)

Submission = Annotated[
    Path,
    typer.Argument(
        metavar="SUBMISSION.json",
        help="Names the fleet and incident tables (CSV, beside it), the exposure window, the as-of date, the policy "
        "period, covers and terms, expenses and profit. Fields: docs/methods/itops.md.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.add_typer(quotes, name="quote")


@quotes.command()
def issue(submission: Submission, as_json: AsJson = False) -> None:
    """Price a submission. The same inputs give the same premium to the cent, and the same hash."""
    from itops import underwrite

    result = underwrite.price_files(submission).result()
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        show(result, Console())


def show(result: dict[str, Any], console: Console) -> None:
    """Prints a quote for people."""
    currency = result["currency"]

    def amount(value: float) -> str:
        return f"{value:,.2f}"

    def money(value: float) -> str:
        return f"{amount(value)} {currency}"

    def span(name: str) -> str:
        return f"{result[name]['from']} until {result[name]['to']} (that day not included)"

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for index, column in enumerate(columns):
            made.add_column(column, justify="left" if index == 0 else "right")
        return made

    console.print(Text(f"Quote for {result['insured']}", style="bold"))
    for name, value in (
        ("technical premium", money(result["premium"])),
        ("expected loss", money(result["expected_loss"])),
        ("99 % quantile of the year", money(result["quantile_99"])),
        (f"mean of the worst {1 - result['tail_mean']['level']:.4g}", money(result["tail_mean"]["amount"])),
        ("share resting on priors", f"{result['prior_share']:.1%}"),
        ("policy period", span("policy_period")),
        ("exposure window", span("exposure_window")),
        ("as of", result["as_of"]),
        ("model", f"{result['model_version']}, priors {result['priors_version']}"),
        ("inputs SHA-256", result["inputs_sha256"]),
    ):
        console.print(Text(f"{name:<27}{value}"), soft_wrap=True)

    console.print()
    steps = table("From expected loss to premium", "step", currency)
    for name, value in result["waterfall"].items():
        steps.add_row(name.replace("_", " "), amount(value))
    console.print(steps)
    console.print(Text(f"risk load by Wang's transform, for comparison: {money(result['wang_risk_load'])}"))

    console.print()
    covers = table(
        f"Covers, each on its own ({currency})", "cover", "expected loss", "before its terms", "99 % quantile"
    )
    for item in result["covers"]:
        figures = (item["expected_loss"], item["expected_ground_up"], item["quantile_99"])
        covers.add_row(item["cover"].replace("_", " "), *(amount(value) for value in figures))
    console.print(covers)

    console.print()
    classes = table(
        f"Device classes ({currency})", "class", "years", "incidents", "open", "rate", "on prior", "repair on prior",
        "expected loss",
    )  # fmt: skip
    for item in result["classes"]:
        classes.add_row(
            item["device_class"],
            f"{item['exposure_years']:,.1f}",
            str(item["n_incidents"]),
            str(item["n_open"]),
            f"{item['rate_per_year']:.4f}",
            f"{item['frequency_prior_share']:.1%}",
            f"{item['layer_prior_share']:.1%}",
            amount(item["expected_loss"]),
        )
    console.print(classes)

    console.print()
    console.print(Text("What it stands on", style="bold"))
    for item in result["assumptions"]:
        console.print(Text(f"[{item['kind']}] {item['name']}: {item['value']} ({item['basis']})"), soft_wrap=True)
    for note in result["notes"]:
        console.print(Text(f"[note] {note}"), soft_wrap=True)
