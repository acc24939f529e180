"""The API process, the accounts and keys of those who use it, and its OpenAPI document."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from core.settings import Settings

admin = typer.Typer(no_args_is_help=True, help="Accounts and API keys.")
keys = typer.Typer(no_args_is_help=True, help="API keys, for machines.")
admin.add_typer(keys, name="key")

Tenant = Annotated[str, typer.Option(help="Slug of the tenant; made where it does not exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""
    app.add_typer(admin, name="admin")

    @app.command()
    def api() -> None:
        """Serves the API and the pages until it is stopped."""
        from api.app import serve
        from tocsin.process import begin

        serve(begin("api"))

    @app.command()
    def openapi() -> None:
        """Prints the OpenAPI document; web/openapi.json is its copy."""
        from api import openapi as documents
        from api.app import create_app
        from core.settings import Settings

        typer.echo(documents.text(create_app(Settings())), nl=False)


@admin.command("create")
def create_account(
    login: Annotated[str, typer.Option(help="Name to sign in with.")],
    tenant: Tenant,
    roles: Annotated[
        str, typer.Option(help="insurer, approver, underwriter, partner, admin, operator; commas between.")
    ],
    name: Annotated[str | None, typer.Option(help="Name that others see; the login where not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Makes an account and prints its password, once: it is kept nowhere."""
    from api.auth import Passwords, create_account

    password = _run(
        lambda pool: create_account(
            pool, Passwords(), login=login, tenant=tenant, roles=_split(roles), display_name=name
        )
    )
    if as_json:
        typer.echo(json.dumps({"login": login, "tenant": tenant, "roles": _split(roles), "password": password}))
    else:
        typer.echo(f"password of {login} (shown only now): ", nl=False, err=True)
        typer.echo(password)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    tenant: Tenant,
    roles: Annotated[
        str, typer.Option(help="device, insurer, underwriter, partner, operator; commas between.")
    ] = "device",
    as_json: AsJson = False,
) -> None:
    """Makes an API key and prints it, once: only its hash is kept."""
    from api.auth import create_key

    key = _run(lambda pool: create_key(pool, name=name, tenant=tenant, roles=_split(roles)))
    if as_json:
        typer.echo(json.dumps({"name": name, "tenant": tenant, "roles": _split(roles), "key": key}))
    else:
        typer.echo(f"key {name} (shown only now): ", nl=False, err=True)
        typer.echo(key)


def _split(roles: str) -> list[str]:
    return [role.strip() for role in roles.split(",") if role.strip()]


def _run(act: Any) -> str:
    """Runs `act(pool)` as tocsin_worker on the configured database, or on the embedded one that runs."""
    import asyncio

    from core.settings import load_settings
    from store.pool import worker_pool

    async def main() -> str:
        async with worker_pool(_reachable(load_settings()), size=1) as pool:
            made: str = await act(pool)
            return made

    return asyncio.run(main())


def _reachable(settings: "Settings") -> "Settings":
    if settings.database_worker_url is not None or settings.database_url is not None:
        return settings
    from pydantic import SecretStr

    from store import embedded

    url = embedded.attach(settings.home).url(settings.mode, "worker")
    return settings.model_copy(update={"database_worker_url": SecretStr(url)})
