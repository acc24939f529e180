"""Commands of warnings: watch, deliver, the fake provider, CAP files and the list of warnings."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""
    from tocsin.commands.groups import group

    cap_group = group(app, "cap")
    warnings_group = group(app, "warnings")

    @app.command()
    def watch() -> None:
        """Turns stored readings into warnings, until stopped."""
        import asyncio

        from alerts import watch as verb
        from store.pool import worker_pool
        from tocsin.process import begin, run_until_stopped

        settings = begin("watch")

        async def work(stop: asyncio.Event) -> None:
            async with worker_pool(settings, size=3) as pool:
                await verb.run(pool, stop, auto_release_people=settings.deliver.auto_release_people)

        run_until_stopped(work)

    @app.command()
    def deliver(
        processes: Annotated[
            int | None,
            typer.Option(min=1, max=32, help="That send, over one outbox. Default: TOCSIN_DELIVER__PROCESSES."),
        ] = None,
        part: Annotated[int, typer.Option(hidden=True, min=1, help="Number of this child, for its logs.")] = 1,
    ) -> None:
        """Sends released warnings to people, until stopped. Several machines may run it over one database."""
        from tocsin import senders
        from tocsin.process import begin, run_until_stopped

        settings = begin("deliver" if part == 1 else f"deliver-{part}")
        n = senders.processes_wanted(settings, processes)
        run_until_stopped(lambda stop: senders.work(settings, stop, processes=n))

    @app.command("fake-provider")
    def fake_provider(
        port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 8025,
        ledger: Annotated[
            Path | None, typer.Option(help="Ledger file; default TOCSIN_HOME/fake_provider.sqlite.")
        ] = None,
        faults: Annotated[str, typer.Option(help='Rates as JSON, e.g. {"500": 0.1, "reset": 0.1}.')] = "{}",
        honour_keys: Annotated[bool, typer.Option(help="Deliver each Idempotency-Key once.")] = True,
    ) -> None:
        """A provider that reaches nobody, with a ledger and fault switches, for exercises."""
        import uvicorn

        from alerts.fake_provider import FakeProvider
        from tocsin.process import begin

        settings = begin("fake-provider")
        file = ledger or settings.home / "fake_provider.sqlite"
        file.parent.mkdir(parents=True, exist_ok=True)
        provider = FakeProvider(file)
        try:
            provider.faults.set({"rates": json.loads(faults), "honour_keys": honour_keys})
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidInput(f"--faults: {error}") from error
        uvicorn.run(provider, host="127.0.0.1", port=port, log_level="critical", access_log=False)

    @cap_group.command("check")
    def check(
        files: Annotated[list[Path], typer.Argument(help="CAP documents, in the order in which they came.")],
        now: Annotated[
            str | None, typer.Option(help="The instant they are judged at, e.g. 2026-11-28T12:00:00+00:00.")
        ] = None,
        sources: Annotated[Path | None, typer.Option(help="Policies by sender, as JSON (docs/howto/feeds.md).")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Judges documents as one feed: what would be taken and told. Exit code 1: one is refused."""
        from ingest.cap.files import judge_files

        verdicts = judge_files(files, now=now, sources=sources)
        if as_json:
            print(json.dumps(verdicts, ensure_ascii=False))
        else:
            for one in verdicts:
                print(f"{one['file']}: {one['verdict']}" + (", would tell people" if one["would_notify"] else ""))
                for reason in one["reasons"]:
                    print(f"  {reason}")
        if any(one["verdict"] == "reject" for one in verdicts):
            raise typer.Exit(1)

    @warnings_group.command("list")
    def list_warnings(
        state: Annotated[str | None, typer.Option(help="draft, released, superseded, rejected or ended.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """The newest version of each warning, newest first."""
        import asyncio

        from alerts import repository
        from core.settings import load_settings
        from store.queries import Row
        from tocsin.database import command_connection

        known = ("draft", "released", "superseded", "rejected", "ended")
        if state is not None and state not in known:
            raise InvalidInput(f"--state: {state!r} is none of {', '.join(known)}")

        async def read() -> list[Row]:
            async with command_connection(load_settings(), None, say=lambda text: print(text, file=sys.stderr)) as conn:
                return await repository.list_warnings(conn, state)

        rows = asyncio.run(read())
        if as_json:
            print(json.dumps(rows, ensure_ascii=False, default=_plain))
            return
        for row in rows:
            needed = f", {row['n_approvals']}/{row['approvals_needed']} approvals" if row["state"] == "draft" else ""
            headline = row["texts"].get("en", next(iter(row["texts"].values())))["headline"]
            print(
                f"{row['sent_at']:%Y-%m-%d %H:%M}Z  {row['level']:<6}  {row['state']:<10}  {row['n_people']:>6} people"
                f"{needed}  {headline}  [{row['reason']}]"
            )

    @warnings_group.command("damage")
    def damage(
        warning: Annotated[str | None, typer.Option(help="Id of one warning; default: all.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """What people's damage answers say against the damage curve: before and after, by depth inside the home."""
        import asyncio
        from dataclasses import asdict
        from uuid import UUID

        from alerts import damage_answers
        from core.settings import load_settings
        from tocsin.database import command_connection

        try:
            asked = UUID(warning) if warning is not None else None
        except ValueError:
            raise InvalidInput(f"--warning: {warning!r} is not an id") from None

        async def read() -> damage_answers.Learned:
            async with command_connection(load_settings(), None, say=lambda text: print(text, file=sys.stderr)) as conn:
                return await damage_answers.learn(conn, asked)

        learned = asyncio.run(read())
        if as_json:
            print(json.dumps(asdict(learned)))
            return
        print(
            f"{learned.n_answers} answers, {learned.n_with_share} with depth and share, {learned.n_with_photo} photos"
        )
        for one in learned.bins:
            print(
                f"{one.depth_from_m:5.2f} to {one.depth_to_m:4.2f} m  {one.n_samples:4} samples  "
                f"before {one.before:.3f} [{one.before_90[0]:.3f}, {one.before_90[1]:.3f}]  "
                f"after {one.after:.3f} [{one.after_90[0]:.3f}, {one.after_90[1]:.3f}]"
            )


def _plain(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
