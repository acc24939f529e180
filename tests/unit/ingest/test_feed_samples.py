"""Every sample of a feed is read, and each trap that the samples hold has a test."""

import base64
import csv
import gzip
import hashlib
import io
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import Point, box

from core.units import to_stored
from ingest.cap.judge import Feed
from ingest.cap.meaning import Finding, Weight
from ingest.cap.message import CapArea
from ingest.weather import (
    atcf,
    capfeed,
    dmc,
    firms,
    hubeau,
    nws,
    qweather,
    sensorthings,
    shakemap,
    sparkplug,
    usgs_quake,
    usgs_water,
    wis2,
)
from ingest.weather.items import BadFeed, Official, read_json

NOW = datetime(2024, 1, 8, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def warning(shared_data: Path) -> Path:
    return shared_data / "warning"


def raw(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw(file).decode("utf-8"))))


# ---------------------------------------------------------------- strict JSON


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": NaN}', "number"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[" * 100_000, "JSON"),
        (b"\xff", "JSON"),
        (b"", "JSON"),
    ],
)
def test_json_is_read_strictly(body: bytes, why: str) -> None:
    with pytest.raises(BadFeed, match=why):
        read_json(body)


# ---------------------------------------------------------------- NWS


def test_nws_alerts_without_a_geometry_keep_their_zones(warning: Path) -> None:
    for name, n in (("alerts_active_e2e.json.gz", 152), ("alerts_active_testing.json.gz", 38)):
        got, amiss = nws.parse(raw(warning / "nws" / name))
        assert len(got) + len(amiss) == n
        assert all("sent" in one for one in amiss)
        assert amiss  # "date:now -7 minutes" stands where a time should: those are not read, the others are
        assert not [one for one in got if one.message.info[0].area[0].polygons]
        mended = re.sub(rb"date:now [^\"]*", b"2024-01-08T14:00:00-06:00", raw(warning / "nws" / name))
        every, amiss = nws.parse(mended)
        assert len(every) >= n - 1  # one has no time at all
        (placed,) = (one.message for one in every if one.message.info[0].area[0].polygons)
        assert placed.info[0].area[0].polygons[0][0] == (-92.0, 30.0)
        first = got[0].message
        assert (first.msg_type, first.status, first.sent.isoformat()) == (
            "Update",
            "Actual",
            "2024-01-08T13:48:00-06:00",
        )
        assert first.references[0].startswith("w-nws.webmaster@noaa.gov,urn:oid:2.49.0.1.840.0.afcd34b4")
        assert ("UGC", "ALZ024") in first.info[0].area[0].geocodes
        assert "no polygon is known for the zones ALZ024" in got[0].amiss
        # "date:now +1 hour" stands where a time should
        assert any(one.startswith("expires cannot be read") for one in got[0].amiss)
        assert first.info[0].expires is None
        assert Feed().judge_message(first, NOW).would_notify is False


def test_nws_zones_are_resolved_all_or_not(warning: Path) -> None:
    body = raw(warning / "nws" / "alerts_active_e2e.json.gz")
    zone = nws.zones(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"id": "ALZ024"}, "geometry": box(-87, 34, -86, 35).__geo_interface__}]}).encode())  # fmt: skip
    resolved = {one.message.identifier: one for one in nws.parse(body, zone)[0]}
    for feature in json.loads(body)["features"]:
        p = feature["properties"]
        codes = {one.rpartition("/")[2] for one in p["affectedZones"]}
        if p["id"] not in resolved:
            continue
        one = resolved[p["id"]]
        placed = bool(one.message.info[0].area[0].polygons)
        assert placed == (codes == {"ALZ024"} or feature["geometry"] is not None), p["id"]
    lon, lat = resolved[json.loads(body)["features"][0]["properties"]["id"]].message.info[0].area[0].polygons[0][0]
    assert -87 <= lon <= -86  # lon first, unlike CAP's own writing
    assert 34 <= lat <= 35
    with pytest.raises(BadFeed, match="features"):
        nws.zones(b'{"features": [{"properties": {}, "geometry": null}]}')


# ---------------------------------------------------------------- USGS earthquakes


def quakes(file: Path) -> list[Any]:
    return usgs_quake.parse(raw(file))


def test_usgs_summary_feeds_are_read(warning: Path) -> None:
    folder = warning / "usgs_quake"
    old, new = quakes(folder / "all_day_2014-04-15.json.gz"), quakes(folder / "all_day_2017-10-05.json")
    told = json.loads(raw(folder / "all_day_2014-04-15.json.gz"))["features"]
    assert len(old) == sum(one["properties"]["type"] == "earthquake" for one in told) > 100
    assert any(one.reviewed for one in old)  # 2014 writes AUTOMATIC and REVIEWED in capitals
    first = next(one for one in old if one.code == "nc72199065")
    assert first.started_at == datetime(2014, 4, 14, 11, 29, 11, 100_000, tzinfo=UTC)  # milliseconds
    assert first.facts["magnitude"] == 1.7
    kodiak = next(one for one in new if one.code == "ak16989295")
    assert (kodiak.facts["lon"], kodiak.facts["lat"], kodiak.facts["depth_km"]) == (-152.901, 58.3623, 46.5)


def test_usgs_an_event_whose_preferred_id_changed_is_one_event(warning: Path) -> None:
    before, after = (quakes(warning / "usgs_quake" / f"update_{one}.json") for one in ("first", "second"))
    assert before[0].code == "us6000bdgz"
    assert after[0].code == "NEW_ID"
    assert usgs_quake.same(before[0], after[0])
    day = timedelta(days=1)
    (changed,) = usgs_quake.changes(before, after, window=day)
    assert not changed.deleted
    assert changed.name == "M 5.0 - SUPER UPDATED EVENT"
    assert usgs_quake.changes(after, before, window=day) == []  # an older telling changes nothing
    assert usgs_quake.changes(after, after, window=day) == []


def test_usgs_what_is_gone_inside_the_window_was_deleted(warning: Path) -> None:
    known = quakes(warning / "usgs_quake" / "all_day_2014-04-15.json.gz")
    newest = max(one.updated_at for one in known)
    day = timedelta(days=1)
    gone = next(one for one in known if newest - one.started_at < timedelta(hours=6))
    (deleted,) = usgs_quake.changes(known, [one for one in known if one is not gone], window=day)
    assert (deleted.code, deleted.deleted) == (gone.code, True)
    oldest = min(known, key=lambda one: one.started_at)
    late = timedelta(seconds=(newest - oldest.started_at).total_seconds() - 1)
    assert usgs_quake.changes(known, [one for one in known if one is not oldest], window=late) == []


def test_shakemap_contours_become_areas_each_within_the_one_before(warning: Path) -> None:
    folder = warning / "usgs_quake"
    seen = shakemap.parse(raw(folder / "shakemap_info.json"), raw(folder / "shakemap_cont_mmi.json.gz"))
    assert seen.facts["scenario"] is True
    assert seen.facts["magnitude"] == 7.7
    areas = [zone.geometry for zone in seen.zones]
    assert [zone.intensity for zone in seen.zones] == sorted({zone.intensity for zone in seen.zones})
    assert len(areas) >= 9
    for outer, inner in itertools.pairwise(areas):
        assert inner.difference(outer).area < 0.01 * inner.area
        assert inner.area < outer.area
    assert areas[-3].distance(Point(-90.4365, 35.5426)) < 1.0


# ---------------------------------------------------------------- USGS water


def test_usgs_water_answers_are_read(warning: Path) -> None:
    folder = warning / "usgs_water"
    assert usgs_water.parse(raw(folder / "nwis_iv_empty_mock.json")) == []
    for name in ("nwis_iv_mock.json", "waterservices_iv.txt"):
        try:
            got = usgs_water.parse(raw(folder / name))
        except BadFeed:
            # the text file carries the JSON of several parameters of one site
            raise
        assert got, name
    daily = usgs_water.parse(raw(folder / "nwis_dv_save_example.json.gz"))
    assert len(daily) > 300
    assert {one.code for one in daily} == {"01585200"}
    assert all(one.observed_at.tzinfo is not None for one in daily)
    stages = usgs_water.rating(raw(folder / "waterservices_ratings.txt"))
    assert stages[0][0] == 2.99
    assert stages[-1] == (27.9, 31100.0)


def water(value: str, **more: Any) -> bytes:
    one = {"value": value, "dateTime": "2025-11-27T10:00:00.000-05:00", "qualifiers": ["P"], **more}
    return json.dumps({"value": {"timeSeries": [{
        "sourceInfo": {"siteName": "x", "siteCode": [{"value": "01"}]},
        "variable": {"variableCode": [{"value": "00065"}], "noDataValue": -999999.0}, "values": [{"value": [one]}]}]}}).encode()  # fmt: skip


def test_usgs_no_value_is_no_level_and_feet_are_feet() -> None:
    (none,) = usgs_water.parse(water("-999999"))
    assert none.value is None
    (ice,) = usgs_water.parse(water("3.2", qualifiers=["P", "Ice"]))
    assert ice.value is None
    (some,) = usgs_water.parse(water("10.0"))
    assert to_stored(some.quantity, some.value or 0, some.unit) == pytest.approx(3.048)
    assert some.observed_at.astimezone(UTC).hour == 15  # the site's own offset
    assert some.provisional
    assert not usgs_water.parse(water("10.0", qualifiers=["A"]))[0].provisional
    with pytest.raises(BadFeed, match="offset"):
        usgs_water.parse(water("1", dateTime="2025-11-27T10:00:00"))


def test_usgs_rows_are_read(warning: Path) -> None:
    for name, n in (
        ("usgs_01581752_2016_2017_5min", 210_468),
        ("usgs_01589330_may2019_5min", None),
        ("usgs_01650800_may2019_5min", None),
    ):
        rows = table(warning / "floods" / f"{name}.csv.gz")
        assert n is None or len(rows) == n
        got = usgs_water.rows(rows[:4000], code=name[5:13])
        assert {one.unit for one in got} == {"ft", "ft3/s"}
        assert all(one.value is None or one.value > -999 for one in got)
    marks = table(warning / "floods" / "usgs_hwm_florence2018.csv.gz")
    assert {"latitude", "longitude", "hwm_id"} <= set(marks[0])


# ---------------------------------------------------------------- Hub'Eau, Sri Lanka


def test_hubeau_levels_are_millimetres_and_none_is_qualified(warning: Path) -> None:
    for event in ("gloria_jan2020", "may2020"):
        rows = table(warning / "floods" / f"hubeau_{event}_10min.csv.gz")[:20_000]
        got = hubeau.rows(rows)
        assert {one.unit for one in got} == {"mm"}
        assert all(one.provisional for one in got)
        stations = table(warning / "floods" / f"hubeau_{event}_stations.csv")
        registered = {row["code_station"] for row in stations}
        assert len({one.code for one in got} & registered) > 30
        if event == "gloria_jan2020":
            assert {one.code for one in got} - registered == {"Y111201001"}  # measured, but not in the list
        assert "alert_m" not in stations[0]  # no official stage in the file: none may be made up
    assert to_stored("level", 635.0, "mm") == pytest.approx(0.635)
    body = {"data": [{"code_station": "Y1", "grandeur_hydro": "H", "resultat_obs": 635.0, "date_obs": "2020-01-07T16:25:00Z",
                      "code_qualification_obs": 16, "longitude": 2.0, "latitude": 43.0},
                     {"code_station": "Y1", "grandeur_hydro": "Q", "resultat_obs": None, "date_obs": "2020-01-07T16:30:00Z"}]}  # fmt: skip
    level, flow = hubeau.parse(json.dumps(body).encode())
    assert (level.quantity, level.unit, level.value) == ("level", "mm", 635.0)
    assert (flow.quantity, flow.unit, flow.value) == ("discharge", "l/s", None)


def test_the_bulletins_of_sri_lanka_are_in_metres_and_in_colombo_time(warning: Path) -> None:
    files = sorted((warning / "floods" / "dmc_bulletins").glob("*.json"))
    assert len(files) == 8
    stations = {
        dmc.spelt_alike(row["station_name"]): row["station_name"]
        for row in table(warning / "floods" / "ditwah2025_lk_stations_dev.csv")
    }
    levels = dmc.rows(table(warning / "floods" / "ditwah2025_lk_levels_dev.csv"))
    assert len(levels) == 4622
    unmatched: set[str] = set()
    for file in files:
        got = dmc.parse(raw(file))
        assert {one.quantity for one in got} == {"level", "rain"}
        unmatched |= {one.code for one in got if dmc.spelt_alike(one.code) not in stations}
        at = datetime.fromisoformat(f"{file.name[:10]}T{file.name[11:16].replace('-', ':')}:00+05:30")
        assert {one.observed_at for one in got} == {at}
        (street,) = (one for one in got if one.code.startswith("Nagalagam") and one.quantity == "level")
        # 3.2 ft at the gauge: already metres here, and not to be divided again
        assert street.unit == "m"
        assert street.value is None or abs(street.value / 0.3048 * 10 - round(street.value / 0.3048 * 10)) < 1e-6
    assert len(unmatched) <= 3, unmatched
    with pytest.raises(BadFeed, match="two times"):
        dmc.parse(
            b'{"d_list": [{"gauging_station_name": "x", "time_str": "2025-11-27 18:30:00", "time_ut": 1764268200}]}'
        )


# ---------------------------------------------------------------- tracks and fires


@pytest.mark.parametrize(
    ("name", "called", "peak_kn"),
    [
        ("florence2018", "FLORENCE", 130),
        ("harvey2017", "HARVEY", 115),
        ("ida2021", "IDA", 130),
        ("sandy2012", "SANDY", 100),
    ],
)
def test_tracks_have_one_fix_a_time(warning: Path, name: str, called: str, peak_kn: int) -> None:
    body = raw(warning / "atcf" / f"{name}-bdeck.dat")
    fixes = atcf.parse(body)
    times = [one.valid_at for one in fixes]
    assert len(set(times)) == len(times) < len(body.splitlines())  # several rows a time: 34, 50, 64 kt
    assert fixes[-1].name == called or called in {one.name for one in fixes}
    assert max(one.wind_kn or 0 for one in fixes) == peak_kn
    strong = max(fixes, key=lambda one: one.wind_kn or 0)
    assert set(strong.radii_nmi) == {34, 50, 64}
    assert all(-100 < one.lon < 0 < one.lat < 65 for one in fixes)  # tenths of degrees, W is negative
    if name == "harvey2017":
        assert (fixes[0].lon, fixes[0].lat) == (-45.8, 13.7)
        assert fixes[0].radii_nmi == {}  # 0 kt is no radius


def test_a_track_that_cannot_be_read_names_its_line() -> None:
    with pytest.raises(BadFeed, match="line=1"):
        atcf.parse(b"AL, 09, 2017081606,   , BEST,   0, 137X,  458W,  25, 1013, LO\n")


def test_fires_are_in_utc_with_either_confidence(warning: Path) -> None:
    fires = firms.parse(raw(warning / "firms" / "MODIS_C6_1_Global_24h_sample.csv"))
    assert len(fires) == 4000
    assert fires[0].seen_at == datetime(2022, 2, 26, 0, 20, tzinfo=UTC)
    assert {one.confidence for one in fires} == {"low", "nominal", "high"}
    head = b"latitude,longitude,bright_ti4,acq_date,acq_time,satellite,confidence,frp\n"
    (viirs,) = firms.parse(head + b"-5.0,-37.4,310,2022-02-26,5,N,n,1.5\n")
    assert viirs.seen_at == datetime(2022, 2, 26, 0, 5, tzinfo=UTC)  # 5 is five past midnight
    assert viirs.confidence == "nominal"
    with pytest.raises(BadFeed, match="line 2"):
        firms.parse(head + b"-5.0,-37.4,310,2022-02-26,2460,N,n,1.5\n")


# ---------------------------------------------------------------- WIS2


def test_wis2_examples_have_the_verdict_of_the_schema(warning: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    folder = warning / "wis2"
    schema = jsonschema.Draft202012Validator(json.loads(raw(folder / "wis2-notification-message-bundled.schema.json")))
    examples = [one for one in sorted(folder.glob("*.json")) if "schema" not in one.name]
    assert len(examples) == 7
    n_bad = 0
    for file in examples:
        document = json.loads(raw(file))
        for change in (lambda d: d, lambda d: d.pop("id"), lambda d: d["properties"].pop("data_id"), lambda d: d["properties"].pop("pubtime"),
                       lambda d: d.pop("links"), lambda d: d.pop("geometry"), lambda d: d.update(type="Thing"), lambda d: d.update(id="x"),
                       lambda d: d["properties"].update(pubtime=5)):  # fmt: skip
            changed = json.loads(json.dumps(document))
            change(changed)
            valid = schema.is_valid(changed)
            try:
                wis2.parse(json.dumps(changed).encode())
                read = True
            except BadFeed:
                read = False
            if not valid:
                n_bad += 1
                assert not read, (file.name, changed)
            elif changed == document:
                assert read, file.name
    assert n_bad >= 20


def notification(data: bytes, **more: Any) -> dict[str, Any]:
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return {"id": "31e9d66a-cd83-4174-9429-b932f1abe1be", "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"], "type": "Feature",
            "geometry": None, "links": [{"rel": "canonical", "href": "https://cache.example/a.xml"}],
            "properties": {"data_id": "a", "pubtime": "2026-03-01T11:00:00Z", "datetime": None, "integrity": {"method": "sha512", "value": digest}, **more}}  # fmt: skip


def test_wis2_data_count_by_their_hash_and_host_alone() -> None:
    note = wis2.parse(json.dumps(notification(b"<alert/>")).encode())
    assert wis2.checked(note, b"<alert/>") == b"<alert/>"
    for wrong in (b"<alert />", b""):
        with pytest.raises(wis2.WrongHash):
            wis2.checked(note, wrong)
    with pytest.raises(wis2.WrongHash, match="no hash"):
        wis2.checked(wis2.parse(json.dumps(notification(b"", integrity=None)).encode()), b"")
    short = wis2.parse(json.dumps(notification(b"", integrity={"method": "sha512", "value": "A2KN...S8q=="})).encode())
    with pytest.raises(wis2.WrongHash):
        wis2.checked(short, b"")
    assert wis2.allowed(note.href, ["cache.example"])
    for href in (
        "http://cache.example/a",
        "https://cache.example.evil/a",
        "https://evilcache.example/a",
        "https://u@cache.example/a",
        "file:///etc/passwd",
    ):
        with pytest.raises(wis2.NotAllowed):
            wis2.allowed(href, ["cache.example"])
    with pytest.raises(BadFeed, match="8,192"):
        wis2.parse(json.dumps(notification(b"", extra="x" * 9000)).encode())
    with pytest.raises(BadFeed, match="4,096"):
        wis2.parse(
            json.dumps(notification(b"", content={"encoding": "utf-8", "value": "x" * 5000, "size": 5000})).encode()
        )


# ---------------------------------------------------------------- Sparkplug and SensorThings


def spb(warning: Path, name: str) -> sparkplug.Payload:
    return sparkplug.decode((warning / "sparkplug" / name).read_bytes())


def heard(nodes: sparkplug.Nodes, kind: str, payload: sparkplug.Payload) -> sparkplug.Heard:
    topic = f"spBv1.0/kelani/{kind}/n1" + ("/d1" if kind[0] == "D" else "")
    return nodes.hear(sparkplug.Topic.parse(topic), payload)


def test_sparkplug_a_node_lives_from_its_birth_to_its_death(warning: Path) -> None:
    nodes = sparkplug.Nodes()
    data = [spb(warning, f"0{i}_NDATA_seq{i}.bin") for i in range(1, 6)]
    assert heard(nodes, "NDATA", data[0]).rebirth == "data before the birth"
    born = heard(nodes, "NBIRTH", spb(warning, "00_NBIRTH.bin"))
    assert born.online
    assert {m.name: m.value for m in born.metrics} == {"level": 4.21, "battery": pytest.approx(12.6)}
    values = []
    for one in data:
        got = heard(nodes, "NDATA", one)
        assert got.rebirth is None
        values += [(m.name, m.value) for m in got.metrics]
    assert {name for name, _ in values} == {"level"}  # by its name or its alias
    old = heard(nodes, "NDATA", spb(warning, "06_NDATA_historical_seq6.bin"))
    assert [m.historical for m in old.metrics] == [True]
    device = heard(nodes, "DBIRTH", spb(warning, "08_DBIRTH_seq7.bin"))
    assert [(m.name, m.value) for m in device.metrics] == [("rain", 0.2)]
    assert heard(nodes, "NDATA", data[4]).rebirth == "seq 5 after 7"  # something was lost
    death = spb(warning, "07_NDEATH.bin")
    assert heard(nodes, "NDEATH", death).online is False
    assert heard(nodes, "NDEATH", death).online is None  # once


def test_sparkplug_a_late_will_does_not_end_the_next_session(warning: Path) -> None:
    nodes = sparkplug.Nodes()
    birth = spb(warning, "00_NBIRTH.bin")
    import dataclasses

    again = dataclasses.replace(
        birth, metrics=tuple(dataclasses.replace(m, value=1) if m.name == "bdSeq" else m for m in birth.metrics)
    )
    heard(nodes, "NBIRTH", again)
    assert heard(nodes, "NDEATH", spb(warning, "07_NDEATH.bin")).online is None


def test_sparkplug_bytes_that_are_none_are_refused(warning: Path) -> None:
    whole = (warning / "sparkplug" / "00_NBIRTH.bin").read_bytes()
    for cut in range(len(whole)):
        try:
            sparkplug.decode(whole[:cut])
        except BadFeed:
            continue
    for junk in (b"\x00", b"\xff" * 12, b"\x12\xff\xff\xff\xff\x0f", b"\x0b"):
        with pytest.raises(BadFeed):
            sparkplug.decode(junk)
    for topic in ("spBv1.0/g/NDATA", "spBv1.0/g/NDATA/n/d", "spBv1.0/g/DDATA/n", "spBv1.0/g/NCMD/n", "a/b/c/d"):
        with pytest.raises(BadFeed):
            sparkplug.Topic.parse(topic)


def test_sensorthings_in_its_three_forms(warning: Path) -> None:
    folder = warning / "sensorthings"
    known = {"118": sensorthings.Datastream(code="Glencourse", quantity="level", unit="m")}
    array = sensorthings.parse(raw(folder / "dataarray_create.json"), known)
    assert [one.value for one in array] == [21.4, 21.6, 21.9]
    (one,) = sensorthings.parse(raw(folder / "observation_publish.json"), known)
    assert (one.code, one.value, one.note) == ("Glencourse", 21.4, "1")
    told = raw(folder / "observation_subscribe.json")  # names no datastream: its topic does; resultTime is null
    (same,) = sensorthings.parse(told, known, topic="v1.1/Datastreams(118)/Observations")
    assert (same.code, same.value, same.observed_at) == (one.code, one.value, one.observed_at)
    with pytest.raises(BadFeed, match="topic"):
        sensorthings.parse(told, known)
    with pytest.raises(BadFeed, match="registered"):
        sensorthings.parse(told, known, topic="v1.1/Datastreams(9)/Observations")

    def changed(**more: Any) -> bytes:
        return json.dumps({**json.loads(raw(folder / "observation_publish.json")), **more}).encode()

    (late,) = sensorthings.parse(changed(phenomenonTime="2025-11-27T09:00:00Z/2025-11-27T10:00:00Z"), known)
    assert late.observed_at.hour == 10
    for result in (True, "high", {"a": 1}):
        with pytest.raises(BadFeed, match="number"):
            sensorthings.parse(changed(result=result), known)
    cut = json.loads(raw(folder / "dataarray_create.json"))
    cut[0]["dataArray"].pop()
    with pytest.raises(BadFeed, match="cut off"):
        sensorthings.parse(json.dumps(cut).encode(), known)


# ---------------------------------------------------------------- China


def held(one: Official) -> list[Finding]:
    return [Finding(Weight.WARN, text) for text in one.amiss]


def test_chinese_warnings_keep_their_colour(warning: Path) -> None:
    folder = warning / "cn"
    (gale,) = qweather.parse(raw(folder / "getWarningNow-zh.json"))
    info = gale.message.info[0]
    assert (gale.colour, info.severity, info.event, info.language) == ("blue", "Minor", "大风", "zh-CN")
    assert gale.message.sent.isoformat() == "2023-04-03T10:30:00+08:00"
    updated = qweather.parse(raw(folder / "getWeatherAlertCurrent-zh.json"))
    assert updated[0].message.msg_type == "Update"
    assert "202510181140100706230391" in updated[0].message.references[0]
    names = qweather.hazards(raw(folder / "alert-events.csv"))
    assert names["1003"] == ("暴雨", "Rainstorm")
    assert info.event_code[0][1] in names
    # the relay gives no place: without the caller's district nobody is told
    now = datetime(2023, 4, 3, 12, tzinfo=UTC)
    assert not Feed().judge_message(gale.message, now, held(gale)).would_notify
    district = CapArea(area_desc="上海", circles=((121.4737, 31.2304, 60.0),))
    (placed,) = qweather.parse(raw(folder / "getWarningNow-zh.json"), district)
    assert Feed().judge_message(placed.message, now, held(placed)).would_notify


def test_a_lift_is_an_all_clear_and_no_warning(warning: Path) -> None:
    row = json.loads(raw(warning / "cn" / "getWarningNow-zh.json"))
    row["warning"][0] |= {"title": "上海中心气象台解除大风蓝色预警[Ⅳ级/一般]", "id": "2", "related": "1"}
    (lift,) = qweather.parse(json.dumps(row).encode())
    assert lift.colour is None
    assert lift.message.info[0].response_type == ("AllClear",)
    assert lift.message.info[0].severity == "Minor"
    row["warning"][0] |= {"title": "大风黄色预警", "severityColor": ""}
    assert qweather.parse(json.dumps(row).encode())[0].colour == "yellow"  # by its title
    with pytest.raises(BadFeed, match="no answer"):
        qweather.parse(b'{"code": "402"}')


def test_a_storm_track_is_turned_to_knots_and_nautical_miles(warning: Path) -> None:
    fixes = qweather.track(raw(warning / "cn" / "getStormTrack.json"))
    last = fixes[-1]
    assert last.wind_kn == pytest.approx(30 / 0.514444, rel=1e-4)  # 30 m/s
    assert last.radii_nmi[34][0] == pytest.approx(120 / 1.852)
    assert [one.issued_at for one in fixes] == sorted({one.issued_at for one in fixes})
    assert last.issued_at.astimezone(UTC).isoformat() == "2024-05-29T21:00:00+00:00"


# ---------------------------------------------------------------- indexes and lists


def test_indexes_lead_to_their_messages(warning: Path) -> None:
    (quake,) = capfeed.entries(raw(warning / "cap" / "earthquake_index.atom"), "http://earthquake.usgs.gov/x/")
    assert quake.link == "http://earthquake.usgs.gov/earthquakes/catalogs/cap/us2010apcd"  # the CAP, not the page
    weather = capfeed.entries(raw(warning / "cap" / "weather_index.atom"), "http://www.weather.gov/")
    assert weather
    assert all(one.link.startswith("http://www.weather.gov/alerts-beta/wwacapget.php") for one in weather)
    rss = b"""<rss version="2.0"><channel><title>t</title><item><title>Flood &amp; storm</title><link> /cap/1.xml </link><guid>g</guid>
    <pubDate>Fri, 28 Nov 2025 06:30:00 +0530</pubDate></item><item><link>javascript:x</link></item><item><title>no link</title></item>
    <item><title>a</title><link>http://x.example/page</link><enclosure type="application/cap+xml" url="http://x.example/a.cap"/></item></channel></rss>"""
    first, second = capfeed.entries(rss, "https://met.example/rss.xml")
    assert (first.id, first.link, first.updated_at) == (
        "g",
        "https://met.example/cap/1.xml",
        datetime(2025, 11, 28, 1, tzinfo=UTC),
    )
    assert second.link == "http://x.example/a.cap"
    for bad in (b"<!DOCTYPE rss><rss/>", b"<html/>", b"<rss>", b"{}"):
        with pytest.raises(BadFeed):
            capfeed.entries(bad, "https://met.example/")


def test_the_list_of_national_feeds_is_read_whole_or_not(warning: Path) -> None:
    body = raw(warning / "cap" / "ifrc_alerthub_feeds.json")
    feeds = capfeed.feed_list(body)
    assert len(feeds) == 169
    assert sum(one.form == "rss" for one in feeds) == 114
    assert len({one.code for one in feeds}) == 169  # two offices have two feeds under one sourceId
    assert {"de-dwd-de", "de-dwd-de.2", "no-met-en.2"} <= {one.code for one in feeds}
    rows = json.loads(body)
    for change, told in (({"sourceId": ""}, "row=3"), ({"capAlertFeed": "file:///etc/passwd"}, "capAlertFeed"), ({"format": "json"}, "format")):  # fmt: skip
        bad = [*rows[:2], {**rows[2], **change}, *rows[3:]]
        with pytest.raises(capfeed.BadList, match=told):
            capfeed.feed_list(json.dumps(bad).encode())


def test_news_is_a_signal_of_low_weight_with_its_source() -> None:
    rss = b"""<rss><channel><item><title>Floods hit the valley</title><link>https://n.example/1</link></item>
    <item><title>Cup final</title><link>https://n.example/2</link></item></channel></rss>"""
    (signal,) = capfeed.news(rss, "https://n.example/", source="n.example", words=["flood"])
    assert (signal.source, signal.link) == ("n.example", "https://n.example/1")
    assert signal.weight <= 0.1
