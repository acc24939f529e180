"""One household's route is found without reading its whole plan."""

from store.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql("0016_routes_by_household")
