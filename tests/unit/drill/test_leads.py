"""What the demo tells of a warning that came after the water."""

from tocsin.demo import why_late


def test_a_late_warning_says_where_its_time_went() -> None:
    row = {"station": "Weir", "lead_min": -180, "reading_to_decision_min": 200, "decision_to_release_min": 20}
    told = why_late(row, 1200.0)
    assert told is not None
    assert "180 min after the water" in told
    assert "200 min from the reading" in told
    assert "20 min from there to the release" in told
    assert "one second of this machine is 20 min" in told
    assert "unknown min" in str(why_late(row | {"reading_to_decision_min": None}, 1200.0))


def test_an_early_one_and_one_without_water_say_nothing() -> None:
    row = {"station": "Weir", "reading_to_decision_min": 1, "decision_to_release_min": 0}
    assert why_late(row | {"lead_min": 0}, 60.0) is None
    assert why_late(row | {"lead_min": None}, 60.0) is None
