"""Commands that start and look after the whole product."""

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
    def healthcheck(process: str = typer.Argument(help="ingest, watch, deliver, jobs or api")) -> None:
        """Says whether a process on this machine gave a sign of life lately (exit code 0) or not (6)."""
        from core.settings import load_settings
        from tocsin.process import check_sign_of_life

        age_s = check_sign_of_life(load_settings(), process)
        typer.echo(f"{process}: last sign of life {age_s:.0f} s ago", err=True)
