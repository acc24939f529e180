"""`tocsin siren`: a sample siren, and the keys that it and the sender need."""

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command to `tocsin`."""

    @app.command()
    def siren(
        device: Annotated[str, typer.Argument(help="The siren's name: letters, digits, _ and -.")],
        tenant: Annotated[str, typer.Option(help="Slug of the tenant that commands it.")] = "",
        trust: Annotated[str, typer.Option(help="Public key of the sender, base64url.")] = "",
        state: Annotated[
            Path | None,
            typer.Option(help="File with its own key and its counter; default TOCSIN_HOME/siren-DEVICE.json."),
        ] = None,
        new_key: Annotated[
            bool, typer.Option("--new-key", help="Print a new signing key for the sender, and end.")
        ] = False,
        once: Annotated[bool, typer.Option("--once", help="End after the first command that is obeyed.")] = False,
    ) -> None:
        """A sample siren: hears commands over MQTT, obeys what is signed, meant for it and in time, and answers signed.

        Prints one JSON line for each command: what was asked, whether it was obeyed, and why. The broker is that of
        TOCSIN_MQTT__HOST. `--new-key` makes what TOCSIN_DELIVER__SIREN_KEY and `--trust` take.
        """
        from core.errors import InvalidInput
        from core.settings import load_settings
        from tocsin import sample_siren

        if new_key:
            print(json.dumps(sample_siren.new_key()))
            return
        settings = load_settings()
        if not tenant or not trust:
            raise InvalidInput("--tenant and --trust: a siren must know whom it obeys")
        if settings.mqtt.host is None:
            raise InvalidInput("TOCSIN_MQTT__HOST: a siren needs a broker")
        sample_siren.run(
            settings.mqtt,
            tenant=tenant,
            device=device,
            trust=trust,
            state=state or settings.home / f"siren-{device}.json",
            say=lambda told: print(json.dumps(told), flush=True),
            once=once,
        )
