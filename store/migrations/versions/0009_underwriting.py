"""What became of a quote: who referred, approved or bound it, and the preventive work it asked for."""

from store.migrate import run_sql

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    run_sql("0009_underwriting")
