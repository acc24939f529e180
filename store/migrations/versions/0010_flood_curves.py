"""What a book declares of flood damage curves."""

from store.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql("0010_flood_curves")
