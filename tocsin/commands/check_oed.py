"""`tocsin check-oed`: what an import would say of a book, without a database."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Mounts this command."""
    app.command("check-oed")(check_oed)


def check_oed(
    location: Annotated[
        Path, typer.Argument(metavar="LOCATION", help="OED location file, CSV or Parquet.", show_default=False)
    ],
    account: Annotated[Path | None, typer.Option(help="OED account file.")] = None,
    ri_info: Annotated[Path | None, typer.Option(help="OED reinsurance info file, for --standard.")] = None,
    ri_scope: Annotated[Path | None, typer.Option(help="OED reinsurance scope file, for --standard.")] = None,
    standard: Annotated[
        bool, typer.Option("--standard", help="Also let ods-tools hold the files against the OED schema (extra oed).")
    ] = False,
    epsg: Annotated[int, typer.Option(help="Coordinate system of Longitude and Latitude.")] = 4326,
    encoding: Annotated[str, typer.Option(help="Text encoding of a CSV file, for example gb18030.")] = "utf-8-sig",
    datum: Annotated[str, typer.Option(help="Datum of degrees: wgs84, gcj02 or bd09 (Chinese maps).")] = "wgs84",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Check OED files: bad and doubtful rows, reconciliation to the cent, data quality. Exit code 2 if any is bad."""
    from rich.console import Console
    from rich.progress import Progress

    from geo.imports import survey
    from geo.oed import BadRow, about_n_rows, read_accounts
    from geo.oed_standard import standard_findings

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"Reading {location.name}", total=about_n_rows(location))
        told = survey(
            location, epsg=epsg, encoding=encoding, datum=datum, progress=lambda n: bar.update(task, completed=n)
        )
    bad_accounts: list[BadRow] = []
    document: dict[str, Any] = told.as_json()
    if account is not None:
        document["n_policies"] = len(read_accounts(account, bad_accounts, encoding=encoding))
        document["refused_account_rows"] = [
            {"line": row.line, "field": row.field, "reason": row.reason} for row in bad_accounts
        ]
    n_bad = len(told.refused) + len(bad_accounts)
    if standard:
        files = {"location": location, "account": account, "ri_info": ri_info, "ri_scope": ri_scope}
        version, found = standard_findings({kind: path for kind, path in files.items() if path is not None})
        document["standard"] = {"oed_version": version, "findings": [one.as_json() for one in found]}
        n_bad += len(found)
    for row in [*told.refused, *bad_accounts]:
        print(f"refused: {row}", file=sys.stderr)
    for doubt in told.doubtful:
        print(f"doubtful: line {doubt.line}: {doubt.field}: {doubt.reason}", file=sys.stderr)
    for one in document.get("standard", {}).get("findings", ()):
        print(f"standard: {one['check']}: {one['message']}", file=sys.stderr)
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        sums = document["reconciliation"]
        print(f"{sums['n_in']:,} rows, data quality {document['quality']['score']} of 100")
        for currency, amount in sums["tiv_in"].items():
            parts = (f"{kind} {sums[kind]['tiv'].get(currency, '0.00')}" for kind in ("mapped", "refused", "unknown"))
            print(f"  {currency}: TIV in {amount} = {' + '.join(parts)}; difference {sums['difference'][currency]}")
        for kind in ("refused", "unknown"):
            for reason in sums[kind]["by_reason"]:
                amounts = ", ".join(f"{v} {c}" for c, v in reason["tiv"].items())
                print(f"  {kind}, {reason['reason']}: {reason['n']:,} rows, {amounts or 'no readable amount'}")
    if n_bad:
        raise typer.Exit(2)
