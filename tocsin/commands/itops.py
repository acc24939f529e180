"""`tocsin quote`: prices IT-operations cover."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from itops.repository import StoredQuote
    from itops.underwrite import Priced
    from store.pool import AsyncConnection


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


Tenant = Annotated[str, typer.Option("--tenant", help="Whose quote it is: the tenant's slug. Needed with --store.")]


@quotes.command()
def issue(
    submission: Submission,
    as_json: AsJson = False,
    store: Annotated[
        bool, typer.Option("--store/--no-store", help="Keep the quote in the database, unchangeable, under an id.")
    ] = False,
    tenant: Tenant = "",
) -> None:
    """Price a submission. The same inputs give the same premium to the cent, and the same hash."""
    from itops import underwrite

    if store and not tenant:
        raise typer.BadParameter(
            "--store needs --tenant SLUG: a stored quote belongs to a tenant", param_hint="--tenant"
        )
    priced = underwrite.price_files(submission)
    result = priced.result()
    if store:
        stored = asyncio.run(_store(priced, tenant))
        result = {"quote_id": str(stored.quote_id), "issued_at": stored.issued_at.isoformat(), **stored.result}
    _print(result, as_json)


@quotes.command()
def rerun(
    quote_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of a stored quote.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Compute a stored quote again from its stored inputs; fails if a cent differs."""
    stored = asyncio.run(_rerun(quote_id))
    _print({"quote_id": str(stored.quote_id), "issued_at": stored.issued_at.isoformat(), **stored.result}, as_json)
    typer.echo("computed again: the same to the cent", err=True)


async def _store(priced: "Priced", slug: str) -> "StoredQuote":
    from core.errors import NotFound
    from itops import repository, underwrite
    from store.clock import read_clock

    async with _connect() as conn:
        tenant_id = await repository.find_tenant(conn, slug)
        if tenant_id is None:
            raise NotFound(f"There is no tenant {slug!r}")
        clock = await read_clock(conn)
        return await underwrite.issue_quote(conn, priced, tenant_id=tenant_id, now=clock.now())


async def _rerun(quote_id: UUID) -> "StoredQuote":
    from itops import underwrite

    async with _connect() as conn:
        return await underwrite.rerun_quote(conn, quote_id)


def _connect() -> "AbstractAsyncContextManager[AsyncConnection]":
    """A worker's connection to the configured database, or to the embedded one."""
    from core.settings import load_settings
    from tocsin.database import command_connection

    settings = load_settings()
    return command_connection(settings, settings.mode, create=True)


def _print(result: dict[str, Any], as_json: bool) -> None:
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
    if "quote_id" in result:
        console.print(Text(f"{'stored as':<27}{result['quote_id']}, issued {result['issued_at']}"), soft_wrap=True)
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
