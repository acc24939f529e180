"""Extracts as they come: odd tags, other coordinate systems, broken files. One line for each refusal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from core.errors import InvalidInput
from geo.network import BadNetwork, Road, build
from geo.roadfiles import describe, read_extract
from geo.tags import road_of
from tocsin.commands import evacuate as command

LINES = np.array(
    [
        shapely.LineString([(-8.6, 41.1), (-8.599, 41.1)]),
        shapely.MultiLineString([[(-8.599, 41.1), (-8.598, 41.1)], [(-8.598, 41.1), (-8.597, 41.1)]]),
    ],
    dtype=object,
)


def speed_kmh(**tags: object) -> float:
    road = road_of({"highway": "residential"} | tags, [(0, 10), (0.001, 10)])
    assert road is not None
    return road.speed_kmh


def test_speeds_and_lanes_as_mappers_write_them() -> None:
    assert speed_kmh(maxspeed="30 mph") == speed_kmh(maxspeed="30mph") == pytest.approx(48.28, abs=0.01)
    assert (
        speed_kmh(maxspeed="['30 mph', '50']") == speed_kmh(maxspeed=["30 mph", 50]) == pytest.approx(48.28, abs=0.01)
    )
    assert speed_kmh(maxspeed="50;30") == speed_kmh(maxspeed="50|30") == speed_kmh(maxspeed="50 km/h") == 50.0
    assert speed_kmh(maxspeed="walk") == 5.0
    for odd in ("none", "signals", "0", "-5", "900", "nan", "inf", "RO:urban", "", 0, float("nan")):
        assert speed_kmh(maxspeed=odd) == 30.0  # the class decides: one odd sign is no reason to refuse a town
    for lanes, per_h in (("2;3", 600), ("['2', '3']", 600), ("4", 1200), ("0", 600), ("many", 600), ("99", 600)):
        road = road_of({"highway": "residential", "lanes": lanes}, [(0, 10), (0.001, 10)])
        assert road is not None
        assert road.capacity == per_h


def graphml(
    path: Path, *edges: dict[str, str], nodes: dict[str, tuple[float, float]] | None = None, crs: str = ""
) -> Path:
    """A graph as OSMnx writes it: every value a text, merged ways as lists; edges run a to b, b to a, a to b, ..."""
    nodes = nodes or {"a": (-8.6, 41.1), "b": (-8.599, 41.1)}
    names = sorted({key for edge in edges for key in edge} | {"x", "y", "crs"})
    keys = "".join(f'<key id="{name}" for="all" attr.name="{name}" attr.type="string"/>' for name in names)
    told = "".join(
        f'<node id="{node}"><data key="x">{x}</data><data key="y">{y}</data></node>' for node, (x, y) in nodes.items()
    )
    for k, edge in enumerate(edges):
        a, b = ("a", "b") if k % 2 == 0 else ("b", "a")
        data = "".join(f'<data key="{key}">{value}</data>' for key, value in edge.items())
        told += f'<edge source="{a}" target="{b}">{data}</edge>'
    about = f'<data key="crs">{crs}</data>' if crs else ""
    path.write_text(
        f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{keys}<graph edgedefault="directed">{about}{told}'
        "</graph></graphml>"
    )
    return path


@pytest.mark.parametrize(
    ("tags", "way"),
    [
        ({"osmid": "[7, 8]", "highway": "['residential', 'tertiary']", "lanes": "['2', '3']", "maxspeed": "walk"}, 7),
        ({"osmid": "7.0", "length": "abc", "maxspeed": "0"}, 7),
        ({"osmid": "99999999999999999999", "length": "nan", "lanes": "2;3"}, 0),
    ],
)
def test_a_graph_of_osmnx_with_odd_values_is_read(tmp_path: Path, tags: dict[str, str], way: int) -> None:
    both = {"oneway": "False"} | tags
    network = read_extract(graphml(tmp_path / "g.graphml", both, both))
    assert (network.n_roads, network.n_edges) == (1, 2)
    assert network.road_osm_id.tolist() == [way]


def test_a_projected_graph_is_read_in_its_own_system(tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, 32629, always_xy=True).transform([-8.6, -8.599], [41.1, 41.1])
    path = graphml(
        tmp_path / "g.graphml", {"geometry": f"LINESTRING ({x[0]} {y[0]}, {x[1]} {y[1]})"},
        nodes={"a": (x[0], y[0]), "b": (x[1], y[1])}, crs="epsg:32629",
    )  # fmt: skip
    network = read_extract(path)
    assert network.node_lon.tolist() == pytest.approx([-8.6, -8.599], abs=1e-6)
    assert network.shape_lat.tolist() == pytest.approx([41.1, 41.1], abs=1e-6)


def write_lines(path: Path, epsg: int, fields: dict[str, list[Any]], lines: Any = LINES) -> Path:
    pyogrio = pytest.importorskip("pyogrio")
    to = Transformer.from_crs(4326, epsg, always_xy=True)
    moved = shapely.transform(lines, lambda xy: np.column_stack(to.transform(xy[:, 0], xy[:, 1])))
    pyogrio.raw.write(
        path, shapely.to_wkb(moved), [np.array(v) for v in fields.values()], list(fields), crs=f"EPSG:{epsg}",
        geometry_type="LineString" if path.suffix == ".shp" else "Unknown",
    )  # fmt: skip
    return path


@pytest.mark.parametrize("name", ["t.gpkg", "t.shp", "t.geojson"])
def test_lines_of_another_coordinate_system_are_read_where_they_are(tmp_path: Path, name: str) -> None:
    path = write_lines(tmp_path / name, 3763, {"highway": ["primary", "footway"], "osm_id": [5, 6]})
    network = read_extract(path)
    assert network.n_roads == 3
    assert network.node_lon.tolist() == pytest.approx([-8.6, -8.599, -8.598, -8.597], abs=1e-6)
    assert network.road_car.tolist() == [True, False, False]
    assert network.road_osm_id.tolist() == [5, 6, 6]


def test_what_a_line_file_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = np.array([LINES[0], None, shapely.LineString()], dtype=object)
    path = write_lines(tmp_path / "t.gpkg", 4326, {"kind": ["a", "b", "c"]}, lines)
    command.build(path, tmp_path / "t.roads")
    assert "there is no column highway" in capsys.readouterr().err
    told = describe(read_extract(tmp_path / "t.roads"))
    assert told["about"]["skipped"] == {"without_geometry": 2}
    assert "no column highway" in told["about"]["assumed"]
    assert told["roads_by_class"] == {"unclassified": 1}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.graphml", '<!DOCTYPE x [<!ENTITY a "b">]><graphml>&a;</graphml>', "it declares XML entities"),
        ("a.graphml", "", "not XML"),
        ("a.osm.pbf", "", "it cannot be read"),
        ("a.gpkg", "abc", "not recognized"),
        ("a.geojson", "[" * 100_000, "nested too deeply"),
        ("a.geojson", '{"type": "FeatureCollection", "features": [], "crs": {"type": "link"}}', "crs: it names no"),
        ("a.geojson", '{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "here"}}}',
         "its coordinate system is not understood"),
        ("a.txt", "a", "not one of .roads, .osm.pbf"),
        ("a.roads", "", "is empty"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadNetwork, match=reason) as caught:
        read_extract(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_odd_properties_and_folders_are_one_line(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[0, 10], [0.001, 10]]}
    for given, reason in (("abc", "properties: it is not an object"), ({"capacity_per_h": -5}, "-5' is not above 0"),
                          ({"capacity_per_h": "x"}, "'x' is not a number")):  # fmt: skip
        document = {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": given, "geometry": line}],
        }
        (tmp_path / "a.geojson").write_text(json.dumps(document))
        with pytest.raises(BadNetwork, match=reason):
            read_extract(tmp_path / "a.geojson")
    with pytest.raises(BadNetwork, match="it is a folder"):
        read_extract(tmp_path)


def test_a_network_file_is_known_by_its_content_and_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    network = build([Road(points=[(0, 10), (0.001, 10)], speed_kmh=36)])
    (tmp_path / "town.net").write_bytes(network.to_bytes())
    assert read_extract(tmp_path / "town.net").n_roads == 1
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "folder", tmp_path / "town.net" / "x.roads"):
        with pytest.raises(InvalidInput, match="--out: "):
            command.build(tmp_path / "town.net", out)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
