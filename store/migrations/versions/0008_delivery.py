"""Escalation, a fence against restored databases, operator notices, help cases, steps against loss, photos."""

from store.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql("0008_delivery")
