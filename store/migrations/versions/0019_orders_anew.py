"""An alarm that is read after its work order was closed opens a new one."""

from store.migrate import run_sql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_sql("0019_orders_anew")
