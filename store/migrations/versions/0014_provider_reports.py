"""What providers report of a message after they took it, and gridded forecasts of feeds."""

from store.migrate import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("0014_provider_reports")
