"""`tocsin quote`: prices IT-operations cover."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from itops.fit_use import FitUse
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


Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        help="Whose quote it is: the tenant's slug. Needed with --store; the tenant's stored fits are used where the "
        "submission names none.",
    ),
]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.add_typer(quotes, name="quote")
    app.command("stress")(stress_command)


QuoteId = Annotated[str, typer.Argument(metavar="ID", help="Of a stored quote.", show_default=False)]
Language = Annotated[str, typer.Option("--language", help="Of the PDF: en or zh.")]
Pdf = Annotated[
    Path | None, typer.Option("--pdf", metavar="O.pdf", help="Write the quote as a PDF too.", show_default=False)
]


@quotes.command()
def issue(
    submission: Submission,
    as_json: AsJson = False,
    pdf: Pdf = None,
    language: Language = "en",
    store: Annotated[
        bool, typer.Option("--store/--no-store", help="Keep the quote in the database, unchangeable, under an id.")
    ] = False,
    tenant: Tenant = "",
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the quote on this machine, under TOCSIN_HOME/quotes.")
    ] = True,
) -> None:
    """Price a submission. The same inputs give the same premium to the cent, and the same hash."""
    from itops import underwrite
    from tocsin.commands import quote_files

    if store and not tenant:
        raise typer.BadParameter(
            "--store needs --tenant SLUG: a stored quote belongs to a tenant", param_hint="--tenant"
        )
    _check_language(language)
    stored_fits = asyncio.run(_fits(tenant, submission)) if tenant else []
    priced = underwrite.price_files(submission, stored_fits)
    result = priced.result()
    quote_id = quote_files.id_of(priced.quote.inputs_sha256, priced.quote.model_version)
    shown = {"quote_id": str(quote_id), **result}
    if store:
        stored = asyncio.run(_store(priced, tenant))
        shown = {"quote_id": str(stored.quote_id), "issued_at": stored.issued_at.isoformat(), **stored.result}
    elif keep:
        quote_files.keep(_folder(), priced, result)
    if pdf is not None:
        _write_pdf(pdf, result, language, shown["quote_id"])
    _print(shown, as_json)


@quotes.command()
def rerun(
    quote_id: QuoteId,
    as_json: AsJson = False,
    pdf: Pdf = None,
    language: Language = "en",
) -> None:
    """Compute a stored quote again from its stored inputs; fails if a cent differs."""
    _check_language(language)
    priced, issued_at = _again(quote_id)
    result = priced.result()
    told = {"issued_at": issued_at} if issued_at else {}
    if pdf is not None:
        _write_pdf(pdf, result, language, str(quote_id))
    _print({"quote_id": str(quote_id), **told, **result}, as_json)
    typer.echo("computed again: the same to the cent", err=True)


@quotes.command("dry-run")
def dry_run(
    rules_file: Annotated[Path, typer.Argument(metavar="RULES.json", help="A set of rules.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """What a set of referral rules would have done to the quotes kept on this machine, beside what was done."""
    from core.errors import InvalidInput
    from itops import dryrun
    from tocsin.commands import quote_files

    try:
        rules = json.loads(rules_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{rules_file} cannot be read: {error}") from error
    told = dryrun.dry_run(rules, quote_files.every(_folder()))
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    typer.echo(f"{told['n_quotes']} quotes, {told['n_changed']} would be decided otherwise by {told['version']}")
    for item in told["quotes"]:
        if item["changed"]:
            typer.echo(f"{item['quote_id']} {item['was']} -> {item['would_be']}: {', '.join(item['fired'])}")


@quotes.command()
def reference(
    name: Annotated[str, typer.Argument(help="data_centre, branch or end_user.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files.", show_default=False)],
    scale: Annotated[float, typer.Option("--scale", min=0.01, max=100, help="Multiplies the devices.")] = 1.0,
) -> None:
    """Write a simulated reference portfolio: submission.json, fleet.csv, incidents.csv."""
    from itops import reference as simulated
    from itops.underwrite import load_priors

    submission, fleet, incidents = simulated.portfolio(name, load_priors()[0], scale=scale)
    out.mkdir(parents=True, exist_ok=True)
    (out / "submission.json").write_text(json.dumps(submission, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (out / "fleet.csv").write_text(fleet, encoding="utf-8")
    (out / "incidents.csv").write_text(incidents, encoding="utf-8")
    typer.echo(f"wrote {out / 'submission.json'}, fleet.csv and incidents.csv beside it (simulated)")


@quotes.command()
def portfolio(
    submissions: Annotated[
        list[Path],
        typer.Argument(metavar="SUBMISSION.json...", help="One for each quote, in one currency.", show_default=False),
    ],
    as_json: AsJson = False,
    years: Annotated[int, typer.Option("--years", min=100, max=1_000_000, help="Years to simulate.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the simulation.")] = 1,
    capacity: Annotated[float | None, typer.Option("--capacity", min=1, help="Of the insurer at one site.")] = None,
) -> None:
    """Several quotes together: loss ratio under the model and under stress, accumulation and clash."""
    from itops import portfolio as together
    from itops import underwrite

    quotes_made = [underwrite.price_files(path).quote for path in submissions]
    told = together.plain_portfolio(quotes_made, n_years=years, seed=seed, capacity=capacity)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    ratio = told["loss_ratio"]
    typer.echo(
        f"loss ratio over {ratio['n_years']:,} simulated years: mean {ratio['mean']:.1%}, median {ratio['p50']:.1%}, "
        f"95 % of years below {ratio['p95']:.1%}, above the premium in {ratio['share_of_years_above_1']:.1%} of years"
    )
    for item in told["stress"]:
        typer.echo(f"{item['en']:<75} {item['loss_ratio']:>8.1%}")
    for item in told["accumulation"][:10]:
        clash = "CLASH" if item["clash"] else ""
        typer.echo(f"{item['kind']:<7} {item['name']:<24} {item['amount']:>18,.2f} {told['currency']} {clash}")


@quotes.command()
def orders(
    quote_id: Annotated[str, typer.Argument(metavar="ID", help="Of a quote in the database.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Read the newest telemetry of a quote's devices and open a work order for each alarm; list all of them."""
    n_new, rows = asyncio.run(_orders(_id(quote_id)))
    if as_json:
        typer.echo(json.dumps({"n_new": n_new, "work_orders": rows}, ensure_ascii=False, indent=2, default=str))
        return
    typer.echo(f"{n_new} new work orders, {len(rows)} in all")
    for row in rows:
        typer.echo(
            f"{row['state']:<9} {row['action']:<8} {row['asset_id']}: {row['signal']} {row['value']:g}, hazard x "
            f"{row['hazard_before']:.2f} -> {row['hazard_after']:.2f}, premium {row['premium_before']:,} -> "
            f"{row['premium_after']:,}"
        )


async def _orders(quote_id: UUID) -> tuple[int, list[dict[str, Any]]]:
    from itops import bind, repository
    from store.clock import read_clock

    async with _connect() as conn:
        now = (await read_clock(conn)).now()
        async with conn.transaction():
            n_new = await bind.watch_alarms(conn, quote_id, now=now)
        return n_new, await repository.work_orders_of(conn, quote_id)


def stress_command(
    quote_id: QuoteId,
    as_json: AsJson = False,
) -> None:
    """Put a stored quote through the stress scenarios, and find what frequency brings its loss ratio to 100 %."""
    from itops.stress import plain_stress

    priced, _ = _again(quote_id)
    told = {"quote_id": str(quote_id), **plain_stress(priced.quote)}
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    from tocsin import quote_screen

    quote_screen.show_stress(told)


def _folder() -> Path:
    from core.settings import load_settings

    return load_settings().home / "quotes"


def _check_language(language: str) -> None:
    from itops.pdf import words

    words(language)


def _write_pdf(path: Path, result: dict[str, Any], language: str, quote_id: str) -> None:
    from core.errors import InvalidInput
    from itops import pdf

    made = pdf.render(result, language, quote_id=quote_id)
    try:
        path.write_bytes(made)
    except OSError as error:
        raise InvalidInput(f"--pdf: {path} cannot be written: {error.strerror or error}") from error


def _id(text: str) -> UUID:
    """A quote's id. Raises InvalidInput."""
    from core.errors import InvalidInput

    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidInput(f"ID: {text!r} is not the id of a quote: that is a UUID of 32 hexadecimal digits") from error


def _again(text: str) -> "tuple[Priced, str | None]":
    """A quote of this machine or of the database, computed again, and when it was issued where that is known.

    Raises InvalidInput, NotOnThisMachine, UnknownQuote.
    """
    from itops import underwrite
    from tocsin.commands import quote_files

    quote_id = _id(text)
    kept = quote_files.find(_folder(), quote_id)
    if kept is not None:
        priced = underwrite.priced_again(
            kept["submission"], kept["result"], kept["inputs_sha256"], kept["model_version"], quote_id=str(quote_id)
        )
        return priced, None
    stored = asyncio.run(_stored(quote_id))
    priced = underwrite.priced_again(
        stored.submission, stored.result, stored.inputs_sha256, stored.model_version, quote_id=str(quote_id)
    )
    return priced, stored.issued_at.isoformat()


async def _fits(slug: str, submission: Path) -> "list[FitUse]":
    """The tenant's fits that were known on the submission's as-of day."""
    from core.errors import NotFound
    from itops import repository, underwrite

    as_of = underwrite.as_of_in(submission)
    if as_of is None:
        return []  # the submission is refused for it with its own words
    async with _connect() as conn:
        tenant_id = await repository.find_tenant(conn, slug)
        if tenant_id is None:
            raise NotFound(f"There is no tenant {slug!r}")
        return await repository.fitted_models(conn, tenant_id=tenant_id, as_of=as_of)


async def _store(priced: "Priced", slug: str) -> "StoredQuote":
    from core.errors import NotFound
    from itops import issuing, repository
    from store.clock import read_clock

    async with _connect() as conn:
        tenant_id = await repository.find_tenant(conn, slug)
        if tenant_id is None:
            raise NotFound(f"There is no tenant {slug!r}")
        clock = await read_clock(conn)
        return await issuing.issue_quote(conn, priced, tenant_id=tenant_id, now=clock.now())


async def _stored(quote_id: UUID) -> "StoredQuote":
    from itops import issuing, repository
    from tocsin.commands.quote_files import NotOnThisMachine
    from tocsin.database import NothingStored

    try:
        async with _connect(create=False) as conn:
            stored = await repository.find_quote(conn, quote_id)
    except NothingStored as error:
        raise NotOnThisMachine(f"There is no quote {quote_id} on this machine, and no database here") from error
    if stored is None:
        raise issuing.UnknownQuote(quote_id=str(quote_id))
    return stored


def _connect(*, create: bool = True) -> "AbstractAsyncContextManager[AsyncConnection]":
    """A worker's connection to the configured database, or to the embedded one."""
    from core.settings import load_settings
    from tocsin.database import command_connection

    settings = load_settings()
    return command_connection(settings, settings.mode, create=create)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        from tocsin import quote_screen

        quote_screen.show(result)
