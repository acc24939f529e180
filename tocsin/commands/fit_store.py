"""Keeps a fit in the database, for a tenant's quotes to stand on."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

Store = Annotated[
    bool, typer.Option("--store/--no-store", help="Keep the fit in the database, for the tenant's quotes.")
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose fit it is: the tenant's slug. Needed with --store.")]
DeviceClass = Annotated[
    str, typer.Option("--device-class", help="The class of devices in a quote that the fit is for, as with --store.")
]
Unit = Annotated[
    str,
    typer.Option(
        "--unit",
        help="By what a device finds its unit in the fit: site, model, manufacturer or asset_id. By default as "
        "the record's shape has it.",
    ),
]
SameRecord = Annotated[
    bool,
    typer.Option(
        "--same-record", help="The tenant's submissions bring the incidents of this very record: count them once."
    ),
]


def keep(
    kind: str, document: Mapping[str, Any], *, tenant: str, device_class: str, unit: str, same_record: bool
) -> bool:
    """Stores the fit; whether it is new. Raises typer.BadParameter, NotFound, BadSubmission."""
    from itops.fit_use import UNITS, FitUse

    if not tenant:
        raise typer.BadParameter("--store needs --tenant SLUG: a fit belongs to a tenant", param_hint="--tenant")
    if kind == "fleet" and not device_class:
        raise typer.BadParameter(
            "--store needs --device-class: the devices that it is for", param_hint="--device-class"
        )
    if unit and unit not in UNITS:
        raise typer.BadParameter(f"{unit!r} is not one of {', '.join(UNITS)}", param_hint="--unit")
    use = FitUse(
        kind=kind, device_class=device_class or None, unit=unit or None, same_record=same_record, source="store",
        document=document,
    )  # fmt: skip
    return asyncio.run(_keep(use, tenant))


async def _keep(use: Any, tenant: str) -> bool:
    from core.settings import load_settings
    from itops import issuing
    from store.clock import read_clock
    from tocsin.database import command_connection

    settings = load_settings()
    async with command_connection(settings, settings.mode, create=True) as conn:
        return await issuing.store_fit(conn, use, slug=tenant, now=(await read_clock(conn)).now())
