"""A tenant's fits of failure rates and repair times, for its quotes to stand on."""

from store.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("0015_fitted_models")
