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
        quote_files.keep(_folder(), priced)
    if pdf is not None:
        _write_pdf(pdf, result, language, shown["quote_id"])
    _print(shown, as_json)


@quotes.command()
def rerun(
    quote_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of a stored quote.", show_default=False)],
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
    quote_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of a quote in the database.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Read the newest telemetry of a quote's devices and open a work order for each alarm; list all of them."""
    n_new, rows = asyncio.run(_orders(quote_id))
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
    quote_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of a stored quote.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Put a stored quote through the stress scenarios, and find what frequency brings its loss ratio to 100 %."""
    from itops.stress import plain_stress

    priced, _ = _again(quote_id)
    told = {"quote_id": str(quote_id), **plain_stress(priced.quote)}
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    console = Console()
    table = Table(
        title=f"{told['insured']}: premium {told['premium']:,.2f} {told['currency']}", box=None, pad_edge=False
    )
    for index, column in enumerate(("scenario", "event", "expected loss", "tail mean", "loss ratio", "solvency")):
        table.add_column(column, justify="left" if index == 0 else "right")
    for item in told["scenarios"]:
        figures = (f"{item[name]:,.0f}" for name in ("event_loss", "expected_loss", "tail_mean"))
        table.add_row(item["en"], *figures, f"{item['loss_ratio']:.1%}", f"{item['solvency_ratio']:.2f}")
    console.print(table)
    factor = told["reverse_stress"]["frequency_multiplier"]
    console.print(Text(f"reverse stress: {'not reached' if factor is None else f'x {factor:g}'}; "
                       f"{told['reverse_stress']['meaning']}"), soft_wrap=True)  # fmt: skip


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


def _again(quote_id: UUID) -> "tuple[Priced, str | None]":
    """A quote of this machine or of the database, computed again, and when it was issued where that is known."""
    from itops import underwrite
    from tocsin.commands import quote_files

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
    from itops import repository, underwrite
    from store.clock import read_clock

    async with _connect() as conn:
        tenant_id = await repository.find_tenant(conn, slug)
        if tenant_id is None:
            raise NotFound(f"There is no tenant {slug!r}")
        clock = await read_clock(conn)
        return await underwrite.issue_quote(conn, priced, tenant_id=tenant_id, now=clock.now())


async def _stored(quote_id: UUID) -> "StoredQuote":
    from itops import repository, underwrite

    async with _connect() as conn:
        stored = await repository.find_quote(conn, quote_id)
    if stored is None:
        raise underwrite.UnknownQuote(quote_id=str(quote_id))
    return stored


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
        name = "stored as" if "issued_at" in result else "quote"
        issued = f", issued {result['issued_at']}" if "issued_at" in result else ""
        console.print(Text(f"{name:<27}{result['quote_id']}{issued}"), soft_wrap=True)
    declined = result["decision"] == "decline"
    if declined:
        for rule in result["rules"]:
            if rule["state"] == "fired" and rule["action"] == "decline":
                console.print(Text(f"declined: {rule['en']}", style="bold"), soft_wrap=True)
    for name, value in (
        ("indication, not an offer" if declined else "commercial premium", money(result["commercial_premium"])),
        ("technical premium", money(result["premium"])),
        ("range of it (5-95 %)", " to ".join(money(x) for x in result["parameter_range"]["premium"].values())),
        ("decision", f"{result['decision']}; score {result['score']['value']:g}, tier {result['score']['tier']}"),
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
    built = table("How the expected loss came about", "step", currency)
    for item in result["build_up"]:
        built.add_row(item["step"].replace("_", " "), amount(item["amount"]))
    console.print(built)
    for item in result.get("fits", []):
        console.print(
            Text(
                f"[fit] {item['kind']} for {item['device_class']}: {item['version']} as of "
                f"{item['as_of'] or 'not dated'}, from the {item['source']}, SHA-256 {item['sha256'][:16]}, "
                f"credibility {item['share']:.1%}, {item['n_unknown']} of {item['n_devices']} devices not in it"
            ),
            soft_wrap=True,
        )

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
        name = item["cover"].replace("_", " ") + (" (prior only)" if item["prior_only"] else "")
        covers.add_row(name, *("-" if value is None else amount(value) for value in figures))
    console.print(covers)

    console.print()
    options = table(f"Options ({currency})", "option", "commercial premium", "expected loss", "99 % quantile")
    for item in result["options"]:
        figures = (item["commercial_premium"], item["expected_loss"], item["quantile_99"])
        options.add_row(item["name"].replace("_", " "), *(amount(value) for value in figures))
    console.print(options)

    told = [rule for rule in result["rules"] if rule["state"] != "passed"]
    if told:
        console.print()
        console.print(Text("Rules that fired, or whose fact is not known", style="bold"))
        for rule in told:
            value = "not known" if rule["value"] is None else f"{rule['value']:.3g}"
            seen = f"{rule['fact']} {value}, threshold {rule['op']} {rule['threshold']:g}"
            console.print(Text(f"[{rule['state']}] {rule['rule']}: {rule['en']} ({seen})"), soft_wrap=True)
    for step in (result["counter_offer"] or {"steps": []})["steps"]:
        price = "" if step["premium"] is None else f", premium {money(step['premium'])}"
        console.print(Text(f"[counter-offer] {step['en']} (score {step['score']:g}{price})"), soft_wrap=True)
    for order in result["work_orders"]:
        effect = f"hazard x {order['hazard_before']:.2f} -> {order['hazard_after']:.2f}"
        reason = f"{order['signal']} {order['value']:g}"
        console.print(Text(f"[work order] {order['action']} {order['asset_id']}: {reason}, {effect}"), soft_wrap=True)

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
            "-" if item["rate_per_year"] is None else f"{item['rate_per_year']:.4f}",
            f"{item['frequency_prior_share']:.1%}",
            f"{item['layer_prior_share']:.1%}",
            amount(item["expected_loss"]),
        )
    console.print(classes)

    console.print()
    console.print(Text("What it stands on", style="bold"))
    for item in result["assumptions"]:
        console.print(Text(f"[{item['kind']}] {item['name']}: {item['value']} ({item['basis']})"), soft_wrap=True)
    off = [check for check in result["validation"] if not check["holds"]]
    told_checks = "; ".join(f"{c['moment']} of {c['covers']} is off by {c['relative_error']:.1e}" for c in off)
    console.print(
        Text(f"[validation] {len(result['validation'])} moments against exact ones: {told_checks or 'all agree'}"),
        soft_wrap=True,
    )
    for note in result["notes"]:
        console.print(Text(f"[note] {note}"), soft_wrap=True)
