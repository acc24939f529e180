"""What people report of water becomes readings of an own stream; which messages may have gone out twice."""

from store.migrate import run_sql

revision = "0018"
down_revision = "0016"


def upgrade() -> None:
    run_sql("0018_answers_observed")
