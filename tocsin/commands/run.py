"""Commands that start and look after the whole product."""

import typer


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""

    @app.command()
    def healthcheck(process: str = typer.Argument(help="ingest, watch, deliver, jobs or api")) -> None:
        """Says whether a process on this machine gave a sign of life lately (exit code 0) or not (6)."""
        from core.settings import load_settings
        from tocsin.process import check_sign_of_life

        age_s = check_sign_of_life(load_settings(), process)
        typer.echo(f"{process}: last sign of life {age_s:.0f} s ago", err=True)
