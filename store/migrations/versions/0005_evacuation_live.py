"""What an operator and an authority say about roads and places, and the roads of each stored route."""

from store.migrate import run_sql

revision = "0005"
down_revision = "0003"


def upgrade() -> None:
    run_sql("0005_evacuation_live")
