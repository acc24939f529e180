"""Roads to arrays and back, and doors onto roads."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from geo.network import BadNetwork, Road, TurnRule, build, from_geojson, load, save, to_geojson
from geo.snapping import snap
from geo.tags import road_of

D = 0.001


def feature(points: list[list[float]], kind: str = "LineString", **given: object) -> dict[str, object]:
    return {"type": "Feature", "properties": given, "geometry": {"type": kind, "coordinates": points}}


def collection(*features: object) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": list(features)}


def test_roads_are_cut_where_others_meet_them_and_not_where_they_pass_over() -> None:
    network = from_geojson(
        collection(
            feature([[0, 10], [D, 10], [2 * D, 10]], highway="primary", name="Main", **{"name:zh": "主路"}),
            feature([[D, 10], [D, 10 + D]], maxspeed="30 mph", bridge="viaduct"),
            feature([[1.5 * D, 10 - D], [1.5 * D, 10 + D]], oneway="-1"),  # crosses without a shared point
        )
    )
    assert (network.n_roads, network.n_nodes, network.n_edges) == (4, 6, 7)
    assert network.name(0, "zh") == "主路"
    assert network.name(0, "fr") == "Main"
    assert network.name(2) == ""
    assert network.road_speed_m_s * 3.6 == pytest.approx([65, 65, 48.28032, 40])
    assert network.road_bridge.tolist() == [False, False, True, False]
    # -1: against the direction of drawing
    edge = 3
    assert network.node_lat[network.edge_tail[edge]] > network.node_lat[network.edge_head[edge]]
    assert network.road_length_m[0] == pytest.approx(109.6, rel=0.01)


def test_turn_rules_become_bans_and_an_only_rule_bans_every_other_turn() -> None:
    # a crossroads: way 1 from the south, 2 west, 3 north, 4 east
    arms = {1: (0.0, 10 - D), 2: (-D, 10.0), 3: (0.0, 10 + D), 4: (D, 10.0)}
    roads = [Road(points=[place, (0.0, 10.0)], speed_kmh=36, osm_id=way, keys=[way, 99]) for way, place in arms.items()]

    def banned(*rules: TurnRule) -> set[tuple[int, int]]:
        network = build(roads, rules=rules)
        way = network.road_osm_id
        return {(int(way[a // 2]), int(way[b // 2])) for a, b in zip(network.ban_from, network.ban_to, strict=True)}

    assert banned(TurnRule(1, 99, 2, False)) == {(1, 2)}
    assert banned(TurnRule(1, 99, 3, True)) == {(1, 2), (1, 4)}  # and turning round is no turn of the rule
    assert banned(TurnRule(1, 99, 8, False), TurnRule(1, 98, 2, False)) == set()
    assert build(roads, rules=[TurnRule(1, 99, 8, True)]).about["n_turn_rules_used"] == 0


def test_ferries_squares_and_ways_not_built_are_no_roads_and_an_emergency_exit_has_no_doors() -> None:
    points = [(0.0, 10.0), (D, 10.0)]
    for tags in ({"route": "ferry"}, {"highway": "residential", "route": "ferry"}, {"highway": "construction"},
                 {"highway": "pedestrian", "area": "yes"}, {"highway": "service", "access": "no"}):  # fmt: skip
        assert road_of(tags, points) is None
    exit_ = road_of({"highway": "service", "service": "emergency_access"}, points)
    assert exit_ is not None
    assert (exit_.emergency, exit_.car, exit_.foot) == (True, False, True)
    network = build([Road(points=points, speed_kmh=36, emergency=True), Road(points=points[::-1], speed_kmh=36)])
    assert network.has_doors.tolist() == [False, True]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"type": "Feature"}, "not a GeoJSON FeatureCollection"),
        (collection(), "no roads"),
        (collection(feature([[0, 10]], "Point")), r"features\[0\]: a road is a LineString"),
        (collection(feature([[0, 10]])), "fewer than two points"),
        (collection(feature([[10, 95], [10, 96]])), "latitude 95"),
        (collection(feature([["x", 1], [1, 2]])), "not pairs of numbers"),
        (collection(feature([[0, 10], [D, 10]], speed_kmh="fast")), "'fast' is not a number"),
        (collection(feature([[0, 10], [D, 10]], speed_kmh=0)), "not within 0..300"),
        (collection({"type": "Feature", "properties": {}}), "no geometry"),
    ],
)
def test_what_is_no_road_is_named(document: object, reason: str) -> None:
    with pytest.raises(BadNetwork, match=reason):
        from_geojson(document)


def test_a_network_survives_its_file_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    network = build([Road(points=[(0, 10), (D, 10), (D, 10 + D)], speed_kmh=50, names={"en": "A", "zh": "甲"})])
    name, digest = save(network, tmp_path)
    assert save(network, tmp_path) == (name, digest)
    assert hashlib.sha256((tmp_path / name).read_bytes()).digest() == digest
    again = load(tmp_path / name, digest)
    assert again is load(tmp_path / name, digest)
    assert again.names == network.names
    assert np.array_equal(again.shape(0), network.shape(0))
    (tmp_path / name).write_bytes(b"other")
    with pytest.raises(BadNetwork, match="hash differs"):
        load(tmp_path / name, hashlib.sha256(b"else").digest())
    with pytest.raises(BadNetwork, match="cannot be read"):
        load(tmp_path / "gone.roads", digest)


def test_geojson_there_and_back_is_the_same_network() -> None:
    network = build(
        [
            Road(points=[(0, 10), (D, 10), (2 * D, 10)], speed_kmh=50, bridge=True, names={"en": "A", "zh": "甲"}),
            Road(points=[(D, 10), (D, 10 + D)], speed_kmh=30, oneway=True),
        ]
    )
    assert from_geojson(to_geojson(network)).to_bytes() == network.to_bytes()


def test_doors_go_to_the_nearest_road_with_side_distance_and_fraction() -> None:
    network = build(
        [Road(points=[(0, 10), (D, 10)], speed_kmh=50), Road(points=[(0, 10 + D), (D, 10 + D)], speed_kmh=50)]
    )
    lon, lat = np.array([0.25 * D, 0.5 * D, 0.5]), np.array([10 + 0.1 * D, 10 + 0.9 * D, 10])
    found = snap(network, lon, lat, max_m=500)
    assert found.road[:, 0].tolist() == [0, 1, -1]
    assert found.fraction[:2, 0] == pytest.approx([0.25, 0.5], abs=1e-6)
    assert found.distance_m[:2, 0] == pytest.approx([11.06, 11.06], rel=0.01)
    assert np.isinf(found.distance_m[2, 0])
    only_first = snap(network, lon, lat, max_m=500, usable=np.array([True, False]))
    assert only_first.road[:, 0].tolist() == [0, 0, -1]
