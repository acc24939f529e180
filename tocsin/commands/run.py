"""Commands that start and look after the whole product."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""

    @app.command()
    def up() -> None:
        """Runs everything on the embedded or the configured database, without the drill, until Ctrl-C."""
        from core import log
        from core.settings import load_settings
        from tocsin import services

        settings = load_settings()
        log.configure(settings.log_level, as_json=settings.log_json)
        stop = services.wait_for_stop()
        with services.running(settings, "live", lambda text: typer.echo(text, err=True)) as running:
            running.start_processes()
            typer.echo(f"console and API: http://{settings.api.host}:{settings.api.port} (Ctrl-C stops)", err=True)
            while not stop.wait(0.5):
                running.check()
            typer.echo("stopping", err=True)

    @app.command(hidden=True)
    def guardian() -> None:
        """Waits for its supervisor to be killed, and then ends what that one left behind."""
        import threading

        from core import log
        from core.settings import load_settings
        from tocsin import lifeline, services

        settings = load_settings()
        log.configure(settings.log_level, as_json=settings.log_json)
        gone = threading.Event()
        lifeline.hold(settings.supervisor_pid, settings.supervisor_started, gone.set)
        gone.wait()
        services.clean_up_after_kill(settings.home)

    @app.command()
    def doctor(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    ) -> None:
        """Says what is running, on what, and what is degraded. Exit code 1 where something is broken."""
        import json
        from dataclasses import asdict

        from core.settings import load_settings
        from tocsin.doctor import examine

        findings = examine(load_settings())
        if as_json:
            print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2, default=str))
        else:
            for finding in findings:
                print(f"{finding.part:<10} {finding.verdict:<9} {finding.told}")
        if any(finding.verdict == "broken" for finding in findings):
            raise typer.Exit(1)

    @app.command()
    def healthcheck(process: str = typer.Argument(help="ingest, watch, deliver, jobs, api or feeds")) -> None:
        """Says whether a process on this machine gave a sign of life lately (exit code 0) or not (6)."""
        from core.settings import load_settings
        from tocsin.process import check_sign_of_life

        age_s = check_sign_of_life(load_settings(), process)
        typer.echo(f"{process}: last sign of life {age_s:.0f} s ago", err=True)
