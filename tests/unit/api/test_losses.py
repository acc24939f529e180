"""Losses as the API tells them: a reason comes with its code and facts, and what is null is unknown."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api.losses import losses_json
from geo.reasons import tell

NONE = UUID(int=0)
EVENT = {
    "hazard_event_id": NONE, "code": "e", "name": "E", "peril": "flood", "started_at": datetime(2026, 1, 1, tzinfo=UTC),
    "ended_at": None,
}  # fmt: skip


def row(**loss: Any) -> dict[str, Any]:
    return {
        "assessment_id": NONE, "portfolio_name": "Book", "footprint_version": 1, "hazard_event": EVENT,
        "exposed_tiv": 1, "currency": "EUR", "loss_currency": "EUR", "problem": "", "result": {}, "locations": [],
        "loss_computed_at": datetime(2026, 1, 1, tzinfo=UTC), "policies": [], **loss,
    }  # fmt: skip


def test_a_reason_has_a_code_and_its_facts_and_one_of_a_file_has_none() -> None:
    unknown = {
        tell("no_flood_sector", sector="industrial", continent="asia"): {"n_items": 2, "tiv": 5.0},
        "something else": {"n_items": 1, "tiv": 1.0},
    }
    loss = losses_json(row(result={"unknown": unknown, "losses": {"gul": None}})).loss
    assert loss is not None
    known, other = loss.unknown.values()
    assert (known.code, known.facts) == ("no_flood_sector", {"sector": "industrial", "continent": "asia"})
    assert (other.code, other.facts) == (None, {})
    assert loss.ground_up is None


def test_a_problem_has_a_code_where_it_is_one_of_ours() -> None:
    ours = losses_json(row(problem=tell("no_intensity"))).loss
    theirs = losses_json(row(problem="location.csv: 1 bad row")).loss
    assert ours is not None
    assert theirs is not None
    assert (ours.problem_code, theirs.problem_code) == ("no_intensity", None)
    assert theirs.problem == "location.csv: 1 bad row"
