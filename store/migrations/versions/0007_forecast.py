"""Forecasts of each gauge as they were made, so that a rule, a page and a check see the same ones."""

from store.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_forecast")
