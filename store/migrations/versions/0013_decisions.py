"""One voice for several rules, silences, events without a gauge, proposals of rules, tables of levels, repeats."""

from store.migrate import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql("0013_decisions")
