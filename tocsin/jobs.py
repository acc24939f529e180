"""The work beside the decisions: footprints over books, losses, routes and who must hear of them, warnings broadcast,
preventive work orders, tables looked after."""

import asyncio
import threading

from alerts import broadcast, reroute
from alerts.cap_sign import read_signer
from core.settings import Settings
from geo import assess, assess_loss, plan
from itops import prevent
from store import maintain, outbox
from store.pool import worker_pool

#: Laying a footprint over a million locations, or planning a region's routes, may take this long.
_LEASE_S = 300.0


async def run(settings: Settings, owner_url: str, stop: asyncio.Event) -> None:
    """Assesses and plans what the outbox brings, and looks after the tables as their owner, until `stop` is set."""
    halt = threading.Event()
    signer = read_signer(settings.cap.signing_key, settings.cap.signing_certificate)
    broadcaster = broadcast.Broadcaster(settings.mqtt) if settings.mqtt.host is not None else None
    public_url = settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}"
    tell = broadcast.handler(broadcaster.publish if broadcaster else None, public_url=public_url, signer=signer)
    pool = worker_pool(settings, size=10)
    await pool.open()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(maintain.run, owner_url, halt))
            tasks.create_task(outbox.run(pool, "assess", assess.handle, stop, limit=1, lease_s=_LEASE_S))
            tasks.create_task(outbox.run(pool, "loss", assess_loss.handle, stop, limit=1, lease_s=_LEASE_S))
            tasks.create_task(
                outbox.run(pool, "loss_sources", assess_loss.handle_sources, stop, limit=1, lease_s=_LEASE_S)
            )
            tasks.create_task(assess_loss.keep_warm(pool, stop))
            tasks.create_task(outbox.run(pool, "plan", plan.handler(settings.home), stop, limit=1, lease_s=_LEASE_S))
            tasks.create_task(outbox.run(pool, "reroute", reroute.handle, stop))
            tasks.create_task(outbox.run(pool, "broadcast", tell, stop))
            tasks.create_task(prevent.run(pool, stop))
            await stop.wait()
            halt.set()
    finally:
        halt.set()
        if broadcaster is not None:
            broadcaster.close()
        await pool.close()
