"""The drill's world is physically sensible, complete, and the same for a seed."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import shapely

from core.units import QUANTITIES, to_stored
from geo.closing import closures
from geo.evacuation import Households, SafeZones, Status
from geo.hazard import Hazard, area_km2, check_polygon, check_zones
from geo.oed import BadRow, Reconciliation, read_locations
from geo.routing import plan_routes
from tocsin.drill import files, hydrology, play
from tocsin.drill.hydrology import DYING_GAUGE, N_STEPS, STEP_S, cascade, effective_rain, muskingum
from tocsin.drill.inundation import SHALLOW_M, StageAlong
from tocsin.drill.sensors import REPLACED_AT_H, died_at_h
from tocsin.drill.terrain import PLANE, centres, flow_directions
from tocsin.drill.world import BadSeed, World, build

SEEDS = (1, 7, 2026)


@cache
def world_of(seed: int) -> World:
    return build(seed)


@pytest.fixture(params=SEEDS, scope="module")
def world(request: pytest.FixtureRequest) -> World:
    return world_of(request.param)


# ---------------------------------------------------------------- water
@pytest.mark.parametrize(("number", "runoff_in"), [(70, 1.33), (80, 2.04), (85, 2.46), (90, 2.92)])
def test_effective_rain_equals_the_published_table(
    number: float, runoff_in: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # USDA SCS, Technical Release 55 (1986), table 2-1: runoff in inches from 4 inches of rain
    monkeypatch.setattr(hydrology, "CURVE_NUMBER", number)
    assert effective_rain(np.full(24, 4 * 25.4 / 24)).sum() / 25.4 == pytest.approx(runoff_in, abs=0.005)


def test_light_rain_gives_no_runoff() -> None:
    assert effective_rain(np.array([5.0, 5.0])).sum() == 0.0  # less than 0.2 S


@pytest.mark.parametrize("length_m", [300.0, 900.0, 2637.0, 4175.0, 20_000.0])
def test_routing_loses_no_water_and_only_delays_and_flattens(length_m: float) -> None:
    inflow = np.zeros(3000)
    inflow[20:80] = 100 * np.sin(np.linspace(0, np.pi, 60))
    outflow = muskingum(inflow, length_m)
    assert outflow.sum() == pytest.approx(inflow.sum(), rel=1e-9)
    assert outflow.min() >= -1e-9
    assert outflow.max() <= inflow.max() + 1e-9
    times = np.arange(len(inflow))
    lag_s = ((times * outflow).sum() - (times * inflow).sum()) / inflow.sum() * STEP_S
    assert lag_s == pytest.approx(max(length_m / 1.4, STEP_S / 1.6), rel=1e-6)


def test_the_cascade_loses_no_water_and_has_the_response_of_nash() -> None:
    pulse = np.zeros(5000)
    pulse[0] = 1.0
    k_s, n = 6000.0, 3
    out = cascade(pulse, k_s, n)
    assert out.sum() == pytest.approx(1.0, rel=1e-9)
    times = (np.arange(len(out)) + 0.5) * STEP_S
    # Nash (1957): the instantaneous unit hydrograph is the gamma density of shape n and scale k
    gamma = times ** (n - 1) * np.exp(-times / k_s) / (k_s**n * 2.0) * STEP_S
    assert np.abs(out - gamma).max() < 0.03 * gamma.max()


def test_water_balance_of_the_whole_valley(world: World) -> None:
    rivers, rain = world.rivers, world.scenario.rain_mm_h
    # played on after the drill with no more rain, so that all of it has passed the last gauge
    long = np.concatenate([rain, np.zeros((len(rivers.gauges), 4000))], axis=1)
    fallen = effective_rain(long * (STEP_S / 3600)).sum(axis=1) * rivers.area_km2 * 1000.0
    passed = rivers.quick_flow(long)[-1].sum() * STEP_S
    assert passed == pytest.approx(fallen.sum(), rel=1e-6)
    assert rivers.area_km2.sum() == pytest.approx(rivers.total_km2[-1])
    # runoff is less than rain, and a good part of it in such a storm
    share = fallen.sum() / (rain.sum(axis=1) * STEP_S / 3600 * rivers.area_km2 * 1000).sum()
    assert 0.4 < share < 0.9


def test_catchments_are_whole_and_drain_downhill(world: World) -> None:
    rivers, areas = hydrology.build(world.terrain)
    assert set(np.unique(areas)) == set(range(-1, len(rivers.gauges)))
    for i, gauge in enumerate(rivers.gauges):
        for upper in gauge.upstream:
            assert rivers.total_km2[i] > rivers.total_km2[upper]
    for channel in world.terrain.channels:
        assert (np.diff(channel.bed) < 0).all()


def test_flow_directions_reach_the_outlet_from_every_cell_pits_included() -> None:
    rng = np.random.default_rng(3)
    towards = flow_directions(rng.uniform(0, 10, (12, 17)), outlet=(4, 16))
    cell = np.arange(12 * 17)
    for _ in range(12 * 17):
        cell = towards[cell]
    assert set(cell.tolist()) == {4 * 17 + 16}


def test_stage_rises_and_falls_once_and_ratings_rise(world: World) -> None:
    stage = world.scenario.stage_m
    for i in range(len(world.rivers.gauges)):
        assert (np.diff(world.rivers.rating_flow[i]) > 0).all()
        top = int(stage[i].argmax())
        assert 6 < top * STEP_S / 3600 < 24
        rising, falling = np.diff(stage[i, : top + 1]), np.diff(stage[i, top:])
        assert rising.min() > -0.02
        assert falling.max() < 0.02
        assert stage[i, 360] < 0.6 * stage[i, top]
    assert stage.shape == (12, N_STEPS)


def test_levels_are_crossed_in_order_and_several_gauges_reach_red(world: World) -> None:
    reached = [int(sum(peak >= v for v in sensor.levels.values())) for sensor, peak in levels_and_peaks(world)]
    assert reached.count(3) >= 3
    assert reached.count(3) < 12
    for sensor, _ in levels_and_peaks(world):
        assert list(sensor.levels) == ["yellow", "orange", "red"]
        assert sorted(sensor.levels.values()) == list(sensor.levels.values())
    # and all is clear at the end
    assert all(world.scenario.stage_m[s.gauge, 360] < s.levels["yellow"] - 0.1 for s, _ in levels_and_peaks(world))


def levels_and_peaks(world: World) -> list:
    return [(s, world.scenario.stage_m[s.gauge].max()) for s in world.sensors if s.quantity == "level"]


# ---------------------------------------------------------------- footprints
def test_the_footprint_grows_then_shrinks_and_each_version_can_be_published(world: World) -> None:
    areas = [f.area_km2 for f in world.scenario.footprints]
    top = int(np.argmax(areas))
    assert 0 < top < len(areas) - 1
    assert (np.diff(areas[: top + 1]) > -0.05).all()
    assert (np.diff(areas[top:]) < 0.05).all()
    assert areas[0] < 0.4 * max(areas)
    assert areas[-1] < 0.2 * max(areas)
    assert max(areas) > 5
    for _, footprint in play.footprints(world):
        checked = check_polygon(footprint.geometry)
        zones = check_zones(footprint.zones)
        assert area_km2(checked) > 0.04
        assert all(shapely.area(shapely.intersection(z.geometry, checked)) < 1e-9 for z in zones)
    assert any(f.zones for f in world.scenario.footprints[: top + 1])


def test_a_footprint_holds_the_flooded_channel(world: World) -> None:
    along = StageAlong(world.terrain, world.rivers.gauges)
    for footprint in world.scenario.footprints:
        stages = world.scenario.stage_m[:, int(footprint.at_h * 3600 / STEP_S)]
        for number, river in enumerate(world.terrain.channels):
            over = along.along(stages, number, river.s) - river.bank > SHALLOW_M
            lon, lat = PLANE.inverse(river.x[over], river.y[over])
            assert shapely.intersects_xy(footprint.geometry, lon, lat).all()


def test_the_forecast_finds_most_of_what_is_flooded_an_hour_later(world: World) -> None:
    shown = 0
    for now, later in zip(world.scenario.footprints, world.scenario.footprints[1:], strict=False):
        grown = shapely.difference(later.geometry, now.geometry)
        if later.area_km2 - now.area_km2 < 0.5:
            continue
        forecast = shapely.union_all([zone for arrival, zone in now.zones if arrival <= 120])
        assert shapely.area(shapely.intersection(grown, forecast)) > 0.6 * shapely.area(grown)
        shown += 1
    assert shown >= 2


# ---------------------------------------------------------------- what stands in it
def test_locations_are_insured_placed_and_outside_the_rivers(world: World) -> None:
    assert len(world.locations) == 20_000
    assert all(a.building > 0 and a.contents > 0 and a.bi >= 0 for a in world.locations)
    assert sum(a.lon is None for a in world.locations) == 200
    away = shapely.distance(world.terrain.channel_lines, shapely.points(world.location_x, world.location_y))
    assert away.min() > 40
    wet = shapely.intersects_xy(
        max(world.scenario.footprints, key=lambda f: f.area_km2).geometry,
        *PLANE.inverse(world.location_x, world.location_y),
    )
    assert 0.05 < wet.mean() < 0.6


def test_people_speak_and_live_where_they_should(world: World) -> None:
    assert len(world.policyholders) == 500
    assert len({p.code for p in world.policyholders}) == 500
    assert len({p.location for p in world.policyholders}) == 500
    assert {p.language for p in world.policyholders} == {"en", "zh", "fr", "es"}
    for p in world.policyholders:
        assert world.locations[p.location].occupancy == 1051
        assert world.locations[p.location].lon is not None


def test_safe_zones_are_eight_and_outside_every_footprint_and_forecast(world: World) -> None:
    assert len({(z.lon, z.lat) for z in world.safe_zones}) == 8
    points = shapely.points([z.lon for z in world.safe_zones], [z.lat for z in world.safe_zones])
    for _, footprint in play.footprints(world):
        for geometry in (footprint.geometry, *(z.geometry for z in footprint.zones)):
            assert not shapely.intersects(points, geometry).any()
    assert all(z.seats > z.accessible_seats > 0 for z in world.safe_zones)


def test_roads_hang_together_and_the_peak_cuts_bridges_but_not_the_viaduct(world: World) -> None:
    network = world.network
    assert 3000 <= network.n_edges <= 5500
    peak = max(world.scenario.footprints, key=lambda f: f.area_km2)
    closed = closures(network, Hazard(geometry=peak.geometry)).closed()
    cut = closed & network.road_bridge
    assert cut.sum() >= 3
    viaduct = [i for i in np.flatnonzero(network.road_bridge) if "Viaduct" in network.name(int(i))]
    assert viaduct
    assert not closed[viaduct].any()
    # no road crosses a river but by a bridge
    lines = np.array(
        [shapely.LineString(np.column_stack(PLANE.forward(*network.shape(r).T))) for r in range(network.n_roads)]
    )
    wet = shapely.intersects(lines, world.terrain.channel_lines)
    assert network.road_bridge[wet].all()


def test_everybody_has_a_way_out_on_a_dry_day_and_a_status_at_the_peak(world: World) -> None:
    homes = [world.locations[p.location] for p in world.policyholders]
    households = Households(
        np.array([h.lon for h in homes], dtype=float),
        np.array([h.lat for h in homes], dtype=float),
        np.array([p.on_foot for p in world.policyholders]),
    )
    zones = SafeZones(np.array([z.lon for z in world.safe_zones]), np.array([z.lat for z in world.safe_zones]))
    dry = plan_routes(world.network, Hazard(geometry=shapely.MultiPolygon()), zones, households)
    assert dry.counts()["clear"] == 500
    peak = max(world.scenario.footprints, key=lambda f: f.area_km2)
    counts = plan_routes(world.network, Hazard(geometry=peak.geometry), zones, households).counts()
    assert sum(counts.values()) == 500
    assert counts["clear"] > 200
    assert counts["through-hazard"] + counts["shelter-in-place"] > 30
    assert set(counts) == {s.value for s in Status}


# ---------------------------------------------------------------- instruments
def test_readings_are_near_the_truth_and_the_dead_gauge_is_silent_until_it_is_replaced(world: World) -> None:
    dead = next(s for s in world.sensors if s.gauge == DYING_GAUGE and s.quantity == "level")
    last = 0.0
    seen: dict[tuple[int, float], int] = {}
    for sent in world.sent:
        sensor = world.sensors[sent.sensor]
        for at_h, value in sent.readings:
            seen[(sent.sensor, at_h)] = seen.get((sent.sensor, at_h), 0) + 1
            assert sent.at_h >= at_h
            if sensor.quantity == "level" and sensor.code != "SB-02":
                truth = world.scenario.stage_m[sensor.gauge, round(at_h * 3600 / STEP_S)]
                assert to_stored("level", value, sensor.unit) == pytest.approx(truth, abs=0.05)
            if sensor is dead and at_h < REPLACED_AT_H:
                last = max(last, at_h)
                value_at_death = value
    assert max(seen.values()) == 1
    assert last == died_at_h(world.scenario)
    assert value_at_death > dead.levels["red"]
    peak_h = world.scenario.stage_m[DYING_GAUGE].argmax() * STEP_S / 3600
    assert last < peak_h - 0.5
    assert REPLACED_AT_H - last > 6  # silent over the whole peak, and then long enough for an all-clear
    lost = 1 - len(seen) / (len(world.sensors) * 181)
    assert 0.01 < lost < 0.09


def test_messages_come_in_time_order_and_can_be_decoded(world: World) -> None:
    from ingest.payload import decode
    from ingest.station import Topic

    times, n = [], 0
    for at, topic, payload in play.messages(world):
        times.append(at)
        readings = decode(Topic.parse(topic), payload, at.timestamp())
        n += len(readings)
        sensor = next(s for s in world.sensors if f"/{s.code}/" in topic)
        low, high = QUANTITIES[sensor.quantity].lowest, QUANTITIES[sensor.quantity].highest
        assert all(low <= r.value <= high for r in readings)
    assert times == sorted(times)
    assert n == sum(len(sent.readings) for sent in world.sent)
    kinds = {payload[:1] for _, _, payload in play.messages(world)}
    assert kinds == {b"[", b"{"}
    assert max(len(sent.readings) for sent in world.sent) > 3  # what a gateway held back comes in one pack


def test_reaches_hold_their_gauge_and_overlap_the_flood(world: World) -> None:
    for sensor in world.sensors:
        if sensor.quantity == "level":
            assert shapely.intersects_xy(sensor.reach, sensor.lon, sensor.lat)
            check_polygon(sensor.reach)
            assert 0.2 < area_km2(sensor.reach) < 40
        else:
            assert sensor.reach is None


# ---------------------------------------------------------------- files
def test_files_are_the_same_twice_and_the_oed_file_is_accepted(tmp_path: Path) -> None:
    one = files.write(build(1), tmp_path / "one", picture=False)
    two = files.write(world_of(1), tmp_path / "two", picture=False)
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    refused: list[BadRow] = []
    told = Reconciliation()
    n = sum(len(chunk) for chunk in read_locations(tmp_path / "one" / "locations.csv", refused, told))
    assert (n, refused, told.n_unknown) == (20_000, [], 200)
    assert set(told.difference().values()) == {0}
    assert told.n_rounded == 0
    written = sum(round((a.building + a.contents + a.bi) * 100) for a in world_of(1).locations)
    assert told.read == {"EUR": written}
    footprints = json.loads((tmp_path / "one" / "footprints.geojson").read_text())
    assert {f["properties"]["arrival_min"] for f in footprints["features"]} >= {0, 60, 120}


def test_the_fleet_can_be_priced(tmp_path: Path) -> None:
    from itops.underwrite import price_files

    files.write(world_of(1), tmp_path, picture=False)
    quote = price_files(tmp_path / "submission.json").result()
    assert quote["premium"] > quote["expected_loss"] > 0


def test_another_seed_is_another_world_and_a_wrong_one_is_refused() -> None:
    assert world_of(1).scenario.footprints[0].area_km2 != world_of(7).scenario.footprints[0].area_km2
    assert world_of(1).locations[0] != world_of(7).locations[0]
    with pytest.raises(BadSeed):
        build(-1)


def test_the_valley_lies_in_the_open_ocean() -> None:
    x, y = centres()
    lon, lat = PLANE.inverse(x, y)
    assert (lon.min(), lon.max()) > (-124, -123)
    assert -49 < lat.min() < lat.max() < -48.7
