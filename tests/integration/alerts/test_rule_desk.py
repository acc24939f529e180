"""Rules as data through people's hands, the table of levels, and what pages the operator."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from psycopg.types.json import Jsonb
from shapely.geometry import Polygon, box

from alerts import rule_desk, rule_repository
from alerts.level import Level
from alerts.rule import level_rule
from alerts.rulebook import BadRuleFile
from core.errors import Conflict, NotFound
from tests.integration.alerts.conftest import AREA, at, make_valley
from tests.integration.alerts.test_rule_commands import tocsin
from tests.integration.alerts.test_voice import bulletin, exposure, keep_event_rule

pytestmark = pytest.mark.sql

RULE = {
    "code": "kitulgala", "station": "kitulgala", "thresholds": {"alert": 3.0, "minor": 4.0, "major": 6.0},
    "radius_km": 10,
}  # fmt: skip


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_a_rule_that_releases_by_itself_takes_a_second_person(valley: Any) -> None:
    ann, bo = valley.approvers
    told = RULE | {"automatic": True}
    desk: dict[str, Any] = {"tenant_id": valley.tenant_id, "now": at(5)}

    async def keep(told: dict[str, Any]) -> Any:
        async with valley.worker() as conn:
            return await rule_desk.keep(conn, principal_id=ann, told=told, **desk)

    async def decide(who: Any, sha: str | None, **more: Any) -> Any:
        async with valley.worker() as conn:
            return await rule_desk.decide(
                conn,
                principal_id=who,
                proposal_id=made.proposal_id,
                approve="why" not in more,
                content_sha256=bytes.fromhex(sha) if sha else None,
                **more,
                **desk,
            )

    valley.store((0.0, 2.0), (1.0, 6.5), (2.0, 6.6))
    made = go(keep(told))
    assert (made.state, made.version) == ("proposed", None)
    assert made.dry_run["new"]["n_warnings"] == 1  # it was tried on what is stored first
    assert valley.rows("SELECT * FROM rule") == []
    with pytest.raises(rule_desk.OwnProposal):
        go(decide(ann, made.content_sha256))
    with pytest.raises(rule_desk.ContentChanged):
        go(decide(bo, "ab" * 32))
    valley.conn.execute(
        "UPDATE rule_proposal SET told = told || %s", [Jsonb({"automatic_ceiling": "red"})]
    )  # behind everybody's back
    with pytest.raises(rule_desk.ContentChanged):
        go(decide(bo, made.content_sha256))
    valley.conn.execute("UPDATE rule_proposal SET told = told - 'automatic_ceiling'")
    assert go(decide(bo, made.content_sha256)).version == 1
    with pytest.raises(rule_desk.NotProposed):
        go(decide(bo, made.content_sha256))
    (row,) = valley.rows("SELECT * FROM rule")
    assert (row["definition"]["automatic"], row["effective_from"]) == (True, at(5))

    # one that waits for people anyway is in force at once, as the next version, from the time that it names
    later = go(keep(RULE | {"effective_from": at(60).isoformat()}))
    assert (later.state, later.version, later.effective_from) == ("in_force", 2, at(60))
    assert valley.rows("SELECT effective_to FROM rule WHERE version = 1")[0]["effective_to"] == at(60)
    with pytest.raises(BadRuleFile, match="past"):
        go(keep(RULE | {"effective_from": at(1).isoformat()}))

    async def retire() -> int:
        async with valley.worker() as conn:
            return await rule_desk.retire(
                conn,
                principal_id=ann,
                tenant_id=valley.tenant_id,
                code="kitulgala",
                why="the gauge is gone",
                now=at(90),
            )

    assert go(retire()) == 2
    with pytest.raises(Conflict):
        go(retire())
    acts = [row["action"] for row in valley.rows("SELECT action FROM audit ORDER BY seq")]
    assert acts == ["rule.propose", "rule.approved", "rule.keep", "rule.retire"]


def test_versions_are_told_as_a_file_has_them_and_a_draft_says_whom_it_would_reach(valley: Any) -> None:
    ann, bo = valley.approvers
    told = RULE | {"area": json.loads(shapely.to_geojson(AREA)), "area_desc": {"en": "Valley"}, "automatic": True}
    told.pop("radius_km")

    async def story() -> None:
        async with valley.worker() as conn:
            desk: dict[str, Any] = {"tenant_id": valley.tenant_id, "now": at(5)}
            made = await rule_desk.keep(conn, principal_id=ann, told=told, **desk)
            assert made.dry_run is not None
            assert made.dry_run["n_people"] == 3  # whom the first version would reach, counted on its own area
            await rule_desk.decide(
                conn, principal_id=bo, proposal_id=made.proposal_id, approve=True,
                content_sha256=bytes.fromhex(made.content_sha256 or ""), **desk,
            )  # fmt: skip
            rule_id = (await rule_repository.list_rules(conn, None, at(6)))[0]["rule_id"]
            (first,) = await rule_desk.versions(conn, rule_id=rule_id, **desk)
            people = (first["proposed_by_login"], first["agreed_by_login"])
            assert people == tuple(valley.rows(f"SELECT login FROM principal WHERE principal_id = '{who}'")[0]["login"]
                                   for who in (ann, bo))  # fmt: skip
            assert first["dry_run"]["n_people"] == 3
            # what a version tells can be sent back: the same again is no new version, and its area stays
            again = await rule_desk.keep(conn, principal_id=ann, told=first["told"] | {"automatic": False}, **desk)
            assert again.version == 2
            newest, _ = await rule_desk.versions(conn, rule_id=rule_id, **desk)
            assert shapely.from_wkb(bytes(newest["area"])).equals(AREA)
            assert (await rule_desk.keep(conn, principal_id=ann, told=newest["told"], **desk)).version == 2
            no_area = {name: value for name, value in newest["told"].items() if name != "area"}
            told_none = await rule_desk.try_out(conn, told=no_area, days=3, **desk)
            assert told_none["n_people"] is None  # unknown, not nobody
            # one that was retired is no longer "the same": kept again it is in force again
            await rule_desk.retire(
                conn, principal_id=ann, tenant_id=valley.tenant_id, code="kitulgala", why="gone", now=at(6)
            )
            back = await rule_desk.keep(
                conn, principal_id=ann, told=newest["told"], tenant_id=valley.tenant_id, now=at(7)
            )
            assert back.version == 3
            (row,) = [one for one in await rule_repository.list_rules(conn, None, at(8)) if one["effective_to"] is None]
            assert (row["version"], row["effective_from"]) == (3, at(7))
            # a rule without a gauge likewise: the same again is the same version
            event = {"code": "dmc", "kind": "bulletin", "senders": ["dmc.gov.lk"]}
            assert [(await rule_desk.keep(conn, principal_id=ann, told=event, **desk)).version for _ in range(2)] == [
                1,
                1,
            ]
            with pytest.raises(NotFound):
                await rule_desk.versions(conn, rule_id=valley.station_id, **desk)

    go(story())


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"thresholds": {"alert": 3.0, "minor": "high"}}, "thresholds", "not a number"),
        ({"thresholds": {"alert": 3.0, "minor": 2.0}}, "thresholds", "must rise with the level"),
        ({"thresholds": {}}, "thresholds", "is missing"),
        ({"station": "nowhere"}, "station", "measures no level"),
        ({"k": 4, "n": 3}, "k", "must satisfy"),
        ({"clear_dwell_s": -5}, "clear_dwell_s", "must not be negative"),
        ({"forecast_within_s": 60}, "forecast_within_s", "30 minutes to 12 hours"),
        ({"cost_loss": 0.3}, "cost_loss", "needs forecast_within"),
        ({"radius_km": 900}, "radius_km", "at most 200"),
        ({"effective_from": "soon"}, "effective_from", "not a time"),
        ({"hysteresis": -1}, "hysteresis", "must not be negative"),
        ({"timezone": "Mars/Olympus"}, "timezone", "IANA"),
    ],
)
def test_a_refused_rule_names_its_field(valley: Any, change: dict[str, Any], field: str, why: str) -> None:
    async def story() -> None:
        async with valley.worker() as conn:
            await rule_desk.entry_of(conn, valley.tenant_id, RULE | change, at(5))

    with pytest.raises(BadRuleFile) as refused:
        go(story())
    ((named, reason),) = refused.value.problems
    assert named == field
    assert why in reason
    assert "rule 1" not in reason


def test_a_proposal_of_another_tenant_is_not_there(valley: Any) -> None:
    async def story() -> None:
        async with valley.worker() as conn:
            await rule_desk.decide(
                conn,
                principal_id=valley.approvers[0],
                tenant_id=valley.tenant_id,
                proposal_id=valley.station_id,
                approve=True,
                now=at(0),
            )

    with pytest.raises(NotFound):
        go(story())


def test_the_tenants_own_words_stand_in_the_warning(valley: Any) -> None:
    table = {
        "severity": {"orange": "Extreme"},
        "stages": {"vigilance": "orange"},
        "names": {"orange": {"en": "Vigilance", "zh": "警戒"}},
    }

    async def story() -> None:
        async with valley.worker() as conn:
            await rule_desk.set_scheme(
                conn, principal_id=valley.approvers[0], tenant_id=valley.tenant_id, told=table, now=at(-5)
            )
            entry = await rule_desk.entry_of(
                conn, valley.tenant_id, RULE | {"thresholds": {"vigilance": 4.0}, "automatic": True,
                                                "automatic_ceiling": "red"}, at(-4),
            )  # fmt: skip
            await rule_repository.save_rule(
                conn, entry.rule, area=entry.area, area_desc=entry.area_desc, effective_from=at(-3)
            )
        await valley.see((0.0, 4.5))

    go(story())
    (row,) = valley.rows("SELECT * FROM warning")
    assert (row["level"], row["severity"]) == ("orange", "Extreme")
    assert row["stage"] == {"en": "Vigilance", "zh": "警戒"}


WORLD = box(-179, -60, 179, 70)


@pytest.mark.parametrize(
    ("area", "held"),
    [(None, "held_area_missing"), (Polygon(), "held_area_empty"), (WORLD, "held_area_too_large")],
)
def test_an_area_that_is_not_right_pages_the_operator_once(valley: Any, area: Any, held: str) -> None:
    async def story() -> None:
        await valley.save_rule(area=area, automatic_ceiling=Level.RED)
        for reading in ((0.0, 3.5), (10.0, 4.5), (20.0, 6.5)):
            await valley.see(reading)

    go(story())
    assert {row["state"] for row in valley.rows("SELECT state FROM warning")} <= {"draft", "superseded"}
    rows = valley.rows("SELECT kind, detail FROM operator_notice")
    assert [(row["kind"], row["detail"]["held"]) for row in rows] == [("draft_held", held)]
    assert valley.rows("SELECT count(*) AS n FROM outbox WHERE kind = 'operator_noticed'")[0]["n"] >= 1


def test_ten_times_the_usual_audience_pages_the_operator(valley: Any) -> None:
    for k in range(60):
        valley.add_person(80.05 + k / 1000, 7.05)

    async def story() -> None:
        await valley.save_rule(usual_people=5, automatic_ceiling=Level.RED)
        await valley.see((0.0, 3.5))

    go(story())
    assert valley.warnings() == [(1, "yellow", "draft", "level_reached")]
    assert [row["detail"]["held"] for row in valley.rows("SELECT detail FROM operator_notice")] == [
        "draft_audience_unusual"
    ]


def test_a_storm_of_mass_warnings_waits_for_people(valley: Any) -> None:
    """The third warning to a hundred people or more within an hour, whatever the rules may do by themselves."""
    for k in range(100):
        valley.add_person(80.05 + k / 1000, 7.05)

    async def story() -> None:
        for peril in ("flood", "wind", "rain", "surge"):
            rule = level_rule(
                tenant_id=valley.tenant_id,
                code=peril,
                peril=peril,
                datastream_id=valley.datastream_id,
                thresholds={"red": 6.0},
                automatic=True,
                automatic_ceiling=Level.RED,
                usual_people=100,
            )
            async with valley.worker() as conn:
                await rule_repository.save_rule(conn, rule, area=AREA, area_desc={"en": "V"}, effective_from=at(-1))
        await valley.see((0.0, 6.5))

    go(story())
    states = sorted(row["state"] for row in valley.rows("SELECT state FROM warning"))
    assert states == ["draft", "draft", "released", "released"]
    assert valley.reasons().count("draft_tenant_cap") == 2


def test_rules_and_silences_from_the_command_line(postgres_url: str, tmp_path: Path) -> None:
    valley = make_valley(postgres_url)
    try:
        file = tmp_path / "rules.json"
        told = {"code": "dmc", "kind": "bulletin", "senders": ["dmc.gov.lk"], "at_least": "orange"}
        file.write_text(json.dumps({"rules": [RULE, told]}), encoding="utf-8")
        made = json.loads(tocsin(postgres_url, "import", str(file), "--tenant", "kelani", "--json"))
        assert [(row["code"], row["station"], row["version"]) for row in made] == [
            ("kitulgala", "kitulgala", 1), ("dmc", None, 1),
        ]  # fmt: skip
        listed = json.loads(tocsin(postgres_url, "list", "--tenant", "kelani", "--json"))
        assert [(row["code"], row["kind"]) for row in listed] == [("dmc", "bulletin"), ("kitulgala", "level")]
        assert "dmc" in tocsin(postgres_url, "list")
        out = tocsin(postgres_url, "retire", "dmc", "--tenant", "kelani", "--by", "ann", "--why", "no feed any more")
        assert "retired at version 1" in out
        who = ("--tenant", "kelani", "--by")
        assert "nobody" in tocsin(postgres_url, "retire", "dmc", *who, "nobody", "--why", "x y", fails=True)
        table = tmp_path / "levels.json"
        table.write_text(json.dumps({"names": {"red": {"en": "Major"}}}), encoding="utf-8")
        shown = json.loads(tocsin(postgres_url, "levels", "--tenant", "kelani", "--set", str(table), "--by", "ann"))
        assert (shown["version"], shown["names"], shown["severity"]["red"]) == (1, {"red": {"en": "Major"}}, "Extreme")
        table.write_text(json.dumps({"severity": {"red": "Awful"}}), encoding="utf-8")
        wrong = tocsin(postgres_url, "levels", *who, "ann", "--set", str(table), fails=True)
        assert "severity: red" in wrong
    finally:
        valley.conn.close()


def test_a_rule_file_that_releases_by_itself_asks_a_second_person(postgres_url: str, tmp_path: Path) -> None:
    valley = make_valley(postgres_url)
    try:
        file = tmp_path / "rules.json"
        by_itself = RULE | {
            "automatic": True,
            "automatic_ceiling": "orange",
            "thresholds": {"watch": 3.0, "major": 6.0},
        }
        file.write_text(json.dumps({"stages": {"watch": "blue"}, "rules": [by_itself]}), encoding="utf-8")
        given = ("import", str(file), "--tenant", "kelani", "--json")
        assert "--by LOGIN" in tocsin(postgres_url, *given, fails=True)
        assert "has no account" in tocsin(postgres_url, *given, "--by", "nobody", fails=True)
        assert valley.rows("SELECT count(*) AS n FROM rule_proposal")[0]["n"] == 0
        (made,) = json.loads(tocsin(postgres_url, *given, "--by", "ann"))
        assert (made["state"], made["version"]) == ("proposed", None)
        assert valley.rows("SELECT count(*) AS n FROM rule")[0]["n"] == 0  # it judges nothing yet
        (again,) = json.loads(tocsin(postgres_url, *given, "--by", "ann"))
        assert again["proposal_id"] == made["proposal_id"]  # the same waits once
        agree = ("agree", made["proposal_id"], "--tenant", "kelani", "--by")
        assert "proposed" in tocsin(postgres_url, *agree, "ann", fails=True)  # nobody agrees to their own
        assert "version 1" in tocsin(postgres_url, *agree, "bo")
        (row,) = valley.rows("SELECT * FROM rule")
        assert row["definition"]["thresholds"] == {"blue": 3.0, "red": 6.0}
        assert (row["definition"]["automatic"], row["area"] is not None) == (True, True)
        (stands,) = json.loads(tocsin(postgres_url, *given))  # nothing new: nobody is needed
        assert (stands["state"], stands["version"]) == ("in_force", 1)
    finally:
        valley.conn.close()


def test_a_rule_without_a_gauge_is_tried_on_the_footprints_of_the_last_days(valley: Any) -> None:
    told = {
        "code": "homes", "kind": "footprint", "exposure": {"yellow": {"policies": 3}, "red": {"insured_value": "1000000"}},
    }  # fmt: skip
    inside = box(80.0, 7.0, 80.1, 7.1)
    for minute, policies, tiv, unknown in ((0, 2, "500.00", 0), (5, 2, "500.00", 1), (20, 9, "2000000.00", 0)):
        exposure(valley, code="k", area=inside, policies=policies, tiv=tiv, unknown=unknown, minute=minute)
    valley.conn.execute("UPDATE hazard_event SET ended_at = %s", [at(500)])

    async def tried(until: float, days: float) -> dict[str, Any]:
        async with valley.worker() as conn:
            return await rule_desk.try_out(conn, tenant_id=valley.tenant_id, told=told, days=days, now=at(until))

    all_of_it = go(tried(600, 1))
    assert (all_of_it["rehearsed"], all_of_it["n_readings"], all_of_it["standing"]) == (True, 3, None)
    new = all_of_it["new"]
    assert (new["n_warnings"], new["by_level"], new["first_at"]) == (1, {"yellow": 1, "red": 1}, at(5).isoformat())
    assert new["reasons"]["all_clear"] == 1
    assert new["hours_warned"] == pytest.approx(495 / 60)
    assert new["n_false"] is None  # no gauge could say
    assert go(tried(10, 1))["new"]["by_level"] == {"yellow": 1}  # what came later is not known yet
    assert valley.rows("SELECT count(*) AS n FROM warning")[0]["n"] == 0
    # what the running system makes of the same, look by look
    go(keep_event_rule(valley, "homes", {k: v for k, v in told.items() if k != "code"}))
    valley.conn.execute("UPDATE hazard_event SET ended_at = NULL")
    for minute in (1, 6, 21, 30):
        go(valley.tick(minute))
    valley.conn.execute("UPDATE hazard_event SET ended_at = %s", [at(500)])
    go(valley.tick(501))
    said = [row for row in valley.rows("SELECT * FROM decision ORDER BY at") if row["reason"] in new["reasons"]]
    assert [row["reason"] for row in said if "exposure" in row["reason"]] == ["exposure_reached", "exposure_changed"]
    assert go(tried(600, 1))["standing"] == new


def test_a_rule_of_bulletins_is_tried_on_them_as_they_came(valley: Any) -> None:
    told = {"code": "dmc", "kind": "bulletin", "senders": ["dmc.gov.lk"], "at_least": "orange"}
    first = bulletin(valley, "b1", severity="Severe", minute=0)
    bulletin(valley, "small", severity="Minor", minute=2, area=box(81, 7, 81.1, 7.1))
    bulletin(valley, "who-knows", severity="Unknown", minute=3, area=box(81, 7, 81.1, 7.1))
    second = bulletin(valley, "b2", severity="Extreme", minute=15, ends=first, msg_type="Update")
    bulletin(valley, "b3", severity="Extreme", minute=30, ends=second, msg_type="Cancel")

    async def tried(until: float) -> dict[str, Any]:
        async with valley.worker() as conn:
            return await rule_desk.try_out(conn, tenant_id=valley.tenant_id, told=told, days=1, now=at(until))

    got = go(tried(60))
    assert got["n_readings"] == 5
    assert got["new"]["by_level"] == {"orange": 1, "red": 1}
    assert got["new"]["reasons"] == {"official_bulletin": 1, "official_changed": 1, "official_ended": 1}
    assert got["new"]["hours_warned"] == pytest.approx(0.5)
    then = go(tried(10))["new"]  # the update had not come: the first bulletin stood
    assert (then["by_level"], then["reasons"]) == ({"orange": 1}, {"official_bulletin": 1})
    ran_out = go(tried(60 * 11))["new"]
    assert ran_out["n_warnings"] == 1
    none = go(tried(-60))
    assert (none["rehearsed"], none["n_readings"], none["new"]["n_warnings"]) == (True, 0, 0)
