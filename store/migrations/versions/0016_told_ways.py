"""A household's route is found without reading its whole plan, and each message keeps the way that it carried."""

from store.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql("0016_told_ways")
