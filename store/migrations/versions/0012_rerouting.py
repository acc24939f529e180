"""A household whose way out changed is told again under the same version of its warning."""

from store.migrate import run_sql

revision = "0012"
down_revision = "0010"


def upgrade() -> None:
    run_sql("0012_rerouting")
