"""Tables of readings, cut by time as the engine does it, and the views people read them through."""

from store.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_readings_shape")
    run_sql("0002_readings")
    run_sql("0002_readings_views")
