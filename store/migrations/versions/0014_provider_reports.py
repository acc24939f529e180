"""What providers report of a message after they took it."""

from store.migrate import run_sql

revision = "0014"
down_revision = "0009"


def upgrade() -> None:
    run_sql("0014_provider_reports")
