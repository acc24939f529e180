"""Feeds of others: where they are, how they are, and what they brought."""

from store.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0006_feeds")
