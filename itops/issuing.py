"""Quotes and fits kept in the database for good, and told to whoever waits for them."""

from datetime import date, datetime
from uuid import UUID

from core.errors import NotFound
from core.events import QuoteIssued
from core.ids import new_id
from itops import repository
from itops.fit_use import FitUse, problems_of
from itops.repository import StoredQuote
from itops.submission import BadSubmission
from itops.underwrite import Priced, load_book, priced_again
from store import outbox
from store.pool import AsyncConnection


class UnknownQuote(NotFound):
    """There is no quote of this id."""


async def store_fit(conn: AsyncConnection, use: FitUse, *, slug: str, now: datetime) -> bool:
    """Keeps a fit for a tenant's quotes; false where it is there already. Raises NotFound, BadSubmission."""
    tenant_id = await repository.find_tenant(conn, slug)
    if tenant_id is None:
        raise NotFound(f"There is no tenant {slug!r}")
    problems = problems_of([use], known_classes=load_book()[0].priors.classes(), as_of=date.max.replace(year=9000))
    if problems:
        raise BadSubmission(problems)
    async with conn.transaction():
        return await repository.add_fitted_model(
            conn, fitted_model_id=new_id(), tenant_id=tenant_id, use=use, stored_at=now
        )


async def issue_quote(conn: AsyncConnection, priced: Priced, *, tenant_id: UUID, now: datetime) -> StoredQuote:
    """Stores the quote and tells it, in one transaction; the same inputs under the same model give the stored one."""
    quote = priced.quote
    quote_id = new_id()
    async with conn.transaction():
        is_new = await repository.insert_quote(
            conn,
            quote_id=quote_id,
            tenant_id=tenant_id,
            inputs_sha256=quote.inputs_sha256,
            inputs=priced.inputs,
            result=priced.result(),
            as_of=quote.as_of,
            exposure_from=quote.exposure_from,
            exposure_to=quote.exposure_to,
            model_version=quote.model_version,
            premium=quote.premium.amount,
            currency=quote.premium.currency,
            issued_at=now,
        )
        if is_new:
            await outbox.publish(
                conn, QuoteIssued(quote_id=quote_id), ordering_key=f"quote:{quote_id}", tenant_id=tenant_id
            )
        stored = await repository.find_quote_by_inputs(conn, tenant_id, quote.inputs_sha256, quote.model_version)
    assert stored is not None  # inserted above, or the conflict that kept it out
    return stored


async def rerun_quote(conn: AsyncConnection, quote_id: UUID) -> StoredQuote:
    """Computes a stored quote again from its inputs; the stored one, if it comes out the same to the cent.

    Raises UnknownQuote, OtherModel, QuoteDiffers.
    """
    stored = await repository.find_quote(conn, quote_id)
    if stored is None:
        raise UnknownQuote(quote_id=str(quote_id))
    priced_again(stored.submission, stored.result, stored.inputs_sha256, stored.model_version, quote_id=str(quote_id))
    return stored
