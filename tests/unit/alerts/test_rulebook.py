"""Rule files: every wrong field is named with its rule; a station list gives a rule for each station with a stage."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pyproj import Geod

from alerts.level import Level
from alerts.rulebook import BadRuleFile, Site, Sites, circle, read_json, read_stations, told

TENANT = UUID(int=1)
SITE = Site(code="k1", name="Kitulgala", lon=80.4, lat=7.0, datastream_id=7, quantity="level", interval_s=600.0)
SITES = Sites(
    [SITE, Site(code="k2", name="Dry", lon=None, lat=None, datastream_id=8, quantity="level", interval_s=60.0)]
)


def read(rule: dict[str, Any], **more: Any) -> Any:
    return read_json(json.dumps({"rules": [rule], **more}), tenant_id=TENANT, sites=SITES, name="r.json")


GOOD = {"code": "a", "station": "k1", "thresholds": {"alert": 3.0, "minor": 4.0, "major": 6.0}}


def test_a_rule_takes_its_stage_names_interval_and_name_from_where_they_are_known() -> None:
    (entry,) = read(GOOD | {"radius_km": 5, "forecast_within_s": 21600, "cost_loss": 0.4})
    assert dict(entry.rule.thresholds) == {Level.YELLOW: 3.0, Level.ORANGE: 4.0, Level.RED: 6.0}
    assert entry.rule.interval == timedelta(minutes=10)
    assert entry.rule.place == {"en": "Kitulgala"}
    assert entry.rule.forecast_within == timedelta(hours=6)
    assert entry.area is not None
    (again,) = read(told(entry) | {"radius_km": 5})
    assert again.rule == entry.rule


def test_a_tenant_may_mean_another_level_by_a_stage() -> None:
    rule = {**GOOD, "thresholds": {"watch": 2.0, "evacuate": 5.0}}
    (entry,) = read(rule, stages={"watch": "blue", "evacuate": "red"})
    assert dict(entry.rule.thresholds) == {Level.BLUE: 2.0, Level.RED: 5.0}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"station": "nowhere"}, "station"),
        ({"thresholds": {"alert": "high"}}, "alert"),
        ({"thresholds": {"alert": True}}, "alert"),
        ({"thresholds": {"alert": 4.0, "minor": 3.0}}, "thresholds"),
        ({"thresholds": {"soon": 4.0}}, "soon"),
        ({"thresholds": {"alert": 3.0, "yellow": 3.5}}, "yellow"),
        ({"thresholds": {"alert": 0}}, "thresholds"),
        ({"hysterisis": 0.2}, "hysterisis"),
        ({"cost_loss": 0.5}, "cost_loss"),
        ({"cost_loss": 1.5, "forecast_within_s": 3600}, "cost_loss"),
        ({"forecast_within_s": 60}, "forecast_within"),
        ({"radius_km": 0}, "radius_km"),
        ({"radius_km": 5, "station": "k2"}, "radius_km"),
        ({"radius_km": 5, "area": {"type": "Point", "coordinates": [1, 2]}}, "radius_km"),
        ({"area": {"type": "Point", "coordinates": [1, 2]}}, "area"),
        ({"area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}}, "area"),
        ({"area": {"type": "Polygon", "coordinates": [[[0, 91], [1, 92], [1, 91], [0, 91]]]}}, "area"),
        ({"effective_from": "2026-01-01T00:00:00"}, "effective_from"),
        ({"effective_from": "soon"}, "effective_from"),
        ({"code": ""}, "code"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], word: str) -> None:
    with pytest.raises(BadRuleFile) as error:
        read(GOOD | change)
    assert word in str(error.value)
    assert "r.json, rule 1" in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", '{"rules": 3}', '{"rules": [], "extra": 1}', "[" * 100_000])
def test_what_is_no_rule_file_is_refused(text: str) -> None:
    with pytest.raises(BadRuleFile):
        read_json(text, tenant_id=TENANT, sites=SITES, name="r.json")


def test_two_rules_of_one_code_are_refused() -> None:
    with pytest.raises(BadRuleFile, match="rule 2: code"):
        read_json(json.dumps({"rules": [GOOD, GOOD]}), tenant_id=TENANT, sites=SITES, name="r.json")


def test_a_station_list_gives_a_rule_for_each_station_with_a_stage() -> None:
    text = "station_name,basin,alert_m,minor_flood_m,major_flood_m\nKitulgala,Kelani,3,4,0\nDry,,,,\n"
    (entry,) = read_stations(text, tenant_id=TENANT, sites=SITES, name="s.csv", radius_km=2.0)
    assert dict(entry.rule.thresholds) == {Level.YELLOW: 3.0, Level.ORANGE: 4.0}
    assert entry.rule.code == "official:k1"
    for bad, word in (
        ("Kitulgala,Kelani,x,4,0", "alert_m"),
        ("Other,K,3,4,0", "station"),
        ("Kitulgala,K,5,4,0", "rise"),
    ):
        with pytest.raises(BadRuleFile, match=word) as error:
            read_stations(
                text.splitlines()[0] + "\n" + bad, tenant_id=TENANT, sites=SITES, name="s.csv", radius_km=None
            )
        assert "line 2" in str(error.value)


def test_a_circle_has_the_area_of_a_circle() -> None:
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(circle(80.0, 7.0, 10.0))
    assert abs(area) / 1e6 == pytest.approx(3.14159265 * 100.0, rel=0.01)
