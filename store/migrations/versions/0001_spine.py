"""The plain tables, the same on both engines."""

from store.migrate import run_sql, write_installation

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("0001_spine")
    write_installation()
