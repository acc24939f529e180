"""`tocsin assess`: one footprint version against one book of the running system."""

import asyncio
import json
import sys
from typing import Annotated, Any

import typer

from tocsin.commands.oed_book import AsJson, BiRestoration, FirstFloorFt, FloodCurvesOfBook, Storeys


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("assess")(assess)


def assess(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Code of the hazard event.", show_default=False)],
    portfolio: Annotated[str, typer.Option(help="Name of the book.")],
    tenant: Annotated[str, typer.Option(help="Slug of the tenant.")],
    footprint_version: Annotated[int | None, typer.Option(help="Version of the footprint; else the newest.")] = None,
    samples: Annotated[int | None, typer.Option(help="Samples; else 500, or 100 for a large book.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same losses, however the work is divided.")] = 1,
    flood_curves: FloodCurvesOfBook = None,
    first_floor_ft: FirstFloorFt = None,
    storeys: Storeys = None,
    bi_restoration: BiRestoration = None,
    by: Annotated[
        str | None, typer.Option(help="Group the losses by any field of the location or the account file.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Scheduler of a Dask cluster, tcp://host:port; needs the extra `cluster`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lay a footprint over a book: exposed value, and losses ground-up, gross and net with their spread.

    The running system does this by itself for each new footprint version; this does it again, with other samples or on
    a cluster, and stores it in place of what was there.
    """
    from core import log
    from core.settings import load_settings
    from geo import assess as assessing
    from geo import assess_loss, repository, repository_books, repository_loss
    from geo.flood_choice import FloodChoice
    from store.clock import read_clock
    from tocsin.commands.workers import Workers
    from tocsin.database import command_connection

    flood = None
    if (flood_curves, first_floor_ft, storeys, bi_restoration) != (None,) * 4:
        flood = FloodChoice.of(flood_curves, first_floor_ft, storeys, bi_restoration)
    settings = load_settings()
    log.configure(settings.log_level, as_json=settings.log_json)

    async def run(mapper: Any) -> dict[str, Any]:
        async with command_connection(
            settings, settings.mode, create=False, say=lambda text: print(text, file=sys.stderr, flush=True)
        ) as conn:
            tenant_id = await repository.tenant_of(conn, tenant)
            books = await repository_books.portfolios(conn, tenant_id)
            book = next((b for b in books if b.name == portfolio), None)
            if book is None:
                raise assess_loss.NoSuchBook(portfolio=portfolio)
            footprint_id, version = await repository_loss.footprint_of_version(
                conn, event, tenant_id, footprint_version
            )
            now = (await read_clock(conn)).now()
            await assessing.assess_footprint(conn, footprint_id, now=now)
            assessment_id = await repository_loss.assessment_of(conn, footprint_id, book.portfolio_id)
            assert assessment_id is not None
            outcome = await assess_loss.estimate_assessment(
                conn, assessment_id, now=now, n_samples=samples, seed=seed, mapper=mapper, flood=flood, by=by
            )
            of = await repository_loss.assessed(conn, assessment_id)
            return {
                "assessment_id": str(assessment_id), "event": event, "footprint_version": version,
                "portfolio": portfolio, "exposed_tiv": of.exposed_tiv, "currency": outcome.currency,
                "problem": outcome.problem, **outcome.result, "policies": outcome.policies,
            }  # fmt: skip

    with Workers(cluster) as mapper:
        told = asyncio.run(run(mapper))
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    print(
        f"{event} version {told['footprint_version']} over {portfolio}: {told['exposed_tiv']:,.2f} {told['currency']}"
    )
    if told["problem"]:
        print(f"  loss unknown: {told['problem']}")
        return
    for name, word in (("gul", "ground-up"), ("il", "gross"), ("ri", "net")):
        q = told["losses"][name]
        if q is None:
            why = told.get("terms", "nothing that is hit has a curve")
            print(f"  {word}: unknown ({why})")
        else:
            print(f"  {word}: mean {q['mean']:,.0f}, P5 {q['p5']:,.0f}, P50 {q['p50']:,.0f}, P95 {q['p95']:,.0f}")
    for group in told.get("by", {}).get("groups", ()):
        gross = "unknown" if group["il_mean"] is None else f"{group['il_mean']:,.0f}"
        print(f"  {by} {group[by]}: ground-up {group['gul_mean']:,.0f}, gross {gross}")
    for what, counted in told["assumptions"].get("assumed", {}).items():
        print(f"  assumed: {counted['n_items']:,} items, insured value {counted['tiv']:,.2f}: {what}", file=sys.stderr)
    for reason, counted in told["unknown"].items():
        print(
            f"  unknown: {counted['n_items']:,} items, insured value {counted['tiv']:,.2f}: {reason}", file=sys.stderr
        )
