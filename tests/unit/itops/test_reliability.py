"""Staffing of a station."""

import pytest

from itops.reliability import BadReliability, engineers_needed, erlang_c


def test_the_fewest_engineers_that_keep_the_target() -> None:
    """Mitan's example: 55 agents answer 84.6 % of 360 calls in 30 minutes, of 240 s each, within 15 s."""
    station = engineers_needed(360 / 1800, 240.0, 15.0, 0.84)
    assert station.servers == 55
    assert station.within(15.0) == pytest.approx(0.845883, abs=1e-6)
    assert erlang_c(360 / 1800, 240.0, 54).within(15.0) < 0.84
    assert engineers_needed(360 / 1800, 240.0, 15.0, 0.85).servers == 56


def test_a_target_of_certainty_is_refused() -> None:
    with pytest.raises(BadReliability):
        engineers_needed(1.0, 1.0, 1.0, 1.0)
