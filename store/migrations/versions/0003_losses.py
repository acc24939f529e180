"""Hazard fields of footprints, OED files behind a book, and losses of assessments."""

from store.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("0003_losses")
