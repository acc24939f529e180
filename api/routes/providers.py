"""What providers of text messages, calls and mail tell us, signed like our own webhooks."""

import time
from typing import Annotated

from alerts import provider_report
from alerts.channels.webhook import verify
from api import repository
from api.deps import Context, needs
from api.errors import NotSignedIn
from api.routing import noun
from api.schemas.provider import (
    ProviderReplyIn,
    ProviderReplyKept,
    ProviderStatusIn,
    ProviderStatusKept,
    ReportingChannel,
)
from api.schemas.responses import ACT
from core.errors import NotFound

router = noun("providers")


async def _check_signature(ctx: Context) -> None:
    """Raises NotFound where no secret is set, NotSignedIn for what is not signed with it within five minutes."""
    secret = ctx.settings.deliver.callback_secret
    if secret is None:
        raise NotFound
    told = ctx.request.headers
    if not verify(
        secret.get_secret_value().encode(),
        timestamp=told.get("x-tocsin-timestamp", ""),
        body=await ctx.request.body(),
        signed=told.get("x-tocsin-signature", ""),
        now=time.time(),
    ):
        raise NotSignedIn


@router.post("/providers/{channel}/status", responses=ACT)
async def provider_status(
    channel: ReportingChannel, body: ProviderStatusIn, ctx: Annotated[Context, needs("report", "delivery")]
) -> ProviderStatusKept:
    """Keeps that a message arrived or failed. Signed: X-Tocsin-Signature over X-Tocsin-Timestamp, "." and the body."""
    await _check_signature(ctx)
    async with ctx.system_transaction() as conn:
        kept = await provider_report.report(
            conn,
            channel=channel,
            reference=body.reference,
            status=body.status,
            reason=body.reason,
            now=await repository.now(conn),
        )
    return ProviderStatusKept(reference=body.reference, state=kept.state, new=kept.new)


@router.post("/providers/{channel}/reply", responses=ACT)
async def provider_reply(
    channel: ReportingChannel, body: ProviderReplyIn, ctx: Annotated[Context, needs("report", "delivery")]
) -> ProviderReplyKept:
    """Keeps a pressed key or a text message back as the person's answer. Signed like a status."""
    await _check_signature(ctx)
    async with ctx.system_transaction() as conn:
        kept = await provider_report.reply(
            conn,
            channel=channel,
            reply_id=body.reply_id,
            reference=body.reference,
            number=body.from_number,
            key=body.key,
            text=body.text,
            now=await repository.now(conn),
        )
    return ProviderReplyKept(meaning=kept.meaning, answer_id=kept.answer_id)
