"""Steps against loss: worth by hand from the published curves, the order, and what fits the time."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from alerts import answer_repository, delivery_repository
from alerts import steps as told
from alerts.prevention import MINUTES, RESERVE_MIN, Home, avoided, car_ratio, credited, steps
from alerts.steps import told_steps
from geo.point_files import load_flood_curves

HAZUS, JRC = load_flood_curves()
HOME = Home(
    depth_m=1.2192,  # 4 ft
    lead_min=240.0,
    n_stories=1,
    first_floor_m=0.3048,  # 1 ft: 3 ft of water inside
    building_value=200_000.0,
    contents_value=100_000.0,
    car_value=20_000.0,
    has_car=True,
    currency="EUR",
)


def contents_ratio(feet_inside: float) -> float:
    """HAZUS default contents curve of RES1, one storey, no basement, read off the file by hand."""
    number = HAZUS["contents"]["default"]["RES1"]["1N"]
    return float(np.interp(feet_inside, np.arange(-4, 25), HAZUS["contents"]["curves"][str(number)]["percent"])) / 100


def test_a_car_is_the_published_curve() -> None:
    """USACE EGM 09-04, sedans: 28.0 % at one foot, 62.2 % at three, all of it at seven."""
    assert car_ratio(0.0) == 0.0
    assert car_ratio(0.3048) == pytest.approx(0.28)
    assert car_ratio(3 * 0.3048) == pytest.approx(0.622)
    assert car_ratio(2.5 * 0.3048) == pytest.approx((0.462 + 0.622) / 2)
    assert car_ratio(9.0) == 1.0
    assert avoided("move_car", HOME, HAZUS, JRC) == pytest.approx(20_000 * 0.76)


def test_contents_are_the_difference_of_two_losses() -> None:
    inside = 100_000 * contents_ratio(3.0)
    raised = 100_000 * contents_ratio(3.0 - 0.8 / 0.3048)
    assert 0 < raised < inside
    assert avoided("move_contents", HOME, HAZUS, JRC) == pytest.approx(0.4 * (inside - raised))
    upstairs = avoided("move_contents", replace(HOME, n_stories=2), HAZUS, JRC)
    number = HAZUS["contents"]["default"]["RES1"]["2N"]
    two = HAZUS["contents"]["curves"][str(number)]["percent"][7] / 100
    assert upstairs == pytest.approx(0.4 * 100_000 * two)


def test_barriers_help_below_their_height_alone() -> None:
    assert avoided("fit_barriers", HOME, HAZUS, JRC) == 0.0
    shallow = replace(HOME, depth_m=0.5)
    saved = avoided("fit_barriers", shallow, HAZUS, JRC)
    assert saved is not None
    assert saved > 0
    assert steps(shallow, HAZUS, JRC)[0].step == "cut_power"
    assert "fit_barriers" not in [one.step for one in steps(HOME, HAZUS, JRC)]


def test_order_is_power_then_money_a_minute_then_what_is_not_known() -> None:
    found = steps(HOME, HAZUS, JRC)
    assert [one.step for one in found] == ["cut_power", "move_car", "move_contents"]
    rates = [one.per_minute for one in found[1:]]
    assert rates == sorted(rates, reverse=True)
    unknown = steps(replace(HOME, car_value=None), HAZUS, JRC)
    assert [one.step for one in unknown] == ["cut_power", "move_contents", "move_car"]
    assert unknown[-1].avoided_loss is None  # unknown, never zero


def test_steps_fit_before_leaving_and_people_come_first() -> None:
    for lead in range(0, 300, 5):
        found = steps(replace(HOME, lead_min=float(lead)), HAZUS, JRC)
        assert sum(one.minutes for one in found) <= max(0.0, lead - RESERVE_MIN)
    assert [one.step for one in steps(replace(HOME, lead_min=21.0), HAZUS, JRC)] == ["cut_power"]
    assert steps(replace(HOME, lead_min=10.0), HAZUS, JRC) == []
    # without a time to leave by, nobody is kept busy
    assert [one.step for one in steps(replace(HOME, lead_min=None), HAZUS, JRC)] == ["cut_power"]
    slow = steps(replace(HOME, slow=True), HAZUS, JRC)
    assert {one.step: one.minutes for one in slow}["move_car"] == 2 * MINUTES["move_car"]


def test_what_is_not_there_is_not_asked_and_what_is_dry_needs_nothing() -> None:
    assert "move_car" not in [one.step for one in steps(replace(HOME, has_car=False), HAZUS, JRC)]
    assert steps(replace(HOME, depth_m=0.0), HAZUS, JRC) == []
    site = replace(HOME, occupancy="COM1", stock_value=300_000.0, has_car=False)
    found = {one.step: one for one in steps(site, HAZUS, JRC)}
    saved = found["move_stock"].avoided_loss
    assert saved is not None
    assert 0 < saved < 300_000
    nobody_knows = steps(replace(HOME, depth_m=None), HAZUS, JRC)
    assert {one.avoided_loss for one in nobody_knows} == {None}


def test_nothing_is_credited_twice() -> None:
    shallow = replace(HOME, depth_m=0.55)
    each = {step: avoided(step, shallow, HAZUS, JRC) for step in ("fit_barriers", "move_contents")}
    assert all(each.values())
    alone = credited(["fit_barriers"], shallow, HAZUS, JRC)
    assert alone == {"fit_barriers": each["fit_barriers"]}
    for order in (["fit_barriers", "move_contents"], ["move_contents", "fit_barriers"]):
        both = credited(order, shallow, HAZUS, JRC)
        total = sum(value or 0.0 for value in both.values())
        assert total < sum(value or 0.0 for value in each.values())
        assert total == pytest.approx((each["fit_barriers"] or 0) + 0.3 * (each["move_contents"] or 0))
    assert credited(["cut_power", "move_car"], replace(shallow, car_value=None), HAZUS, JRC) == {
        "cut_power": None,
        "move_car": None,
    }


@pytest.mark.parametrize("depth_m", [None, 0.2, 1.2192])
@pytest.mark.parametrize("value", [None, 100_000.0])
@pytest.mark.parametrize("slow", [False, True])
def test_told_steps_are_those_of_this_home_at_this_minute(
    depth_m: float | None, value: float | None, slow: bool
) -> None:
    """Homes of one kind share the work within a minute; what is told must not differ from what is worked out."""
    for lead_min in (None, 0.0, 19.99, 20.0, 20.01, 29.999, 30.0, 64.5, 65.0, 89.99, 90.0, 110.0, 240.7):
        home = replace(HOME, depth_m=depth_m, contents_value=value, slow=slow, lead_min=lead_min)
        expected = [(one.step, one.minutes) for one in steps(home, HAZUS, JRC)[:3]]
        for language in ("en", "zh"):
            assert [(one["step"], one["minutes"]) for one in told_steps(home, language)] == expected
    assert told_steps(HOME, "en")[0]["text"] != told_steps(HOME, "zh")[0]["text"]


def test_a_step_is_credited_in_the_light_of_those_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents carried upstairs behind barriers that hold save only what the barriers let through."""
    home = replace(HOME, depth_m=0.5)
    kept: list[dict[str, Any]] = []

    async def answer(value: Any) -> Any:
        return value

    def keep(*_: Any, step: str, at: datetime, avoided_loss: Decimal | None, currency: str | None, **__: Any) -> Any:
        kept.append({"step": step, "done_at": at, "avoided_loss": avoided_loss, "currency": currency})
        return answer(None)

    monkeypatch.setattr(delivery_repository, "is_recipient", lambda *_: answer(True))
    monkeypatch.setattr(told, "home_of", lambda *_: answer(home))
    monkeypatch.setattr(answer_repository, "steps_done", lambda *_: answer(list(kept)))
    monkeypatch.setattr(answer_repository, "add_step_done", keep)

    def done(step: str) -> Decimal:
        found = asyncio.run(
            told.mark_done(
                None,  # type: ignore[arg-type]
                tenant_id=UUID(int=1), policyholder_id=UUID(int=2), warning_id=UUID(int=3), step=step,
                now=datetime(2025, 11, 28, tzinfo=UTC),
            )
        )  # fmt: skip
        assert found.avoided_loss is not None
        return found.avoided_loss

    alone = avoided("move_contents", home, HAZUS, JRC)
    assert alone is not None
    assert alone > 100
    barriers = done("fit_barriers")
    assert float(barriers) == pytest.approx(avoided("fit_barriers", home, HAZUS, JRC), abs=0.01)
    assert float(done("move_contents")) == pytest.approx(0.3 * alone, abs=0.01)
