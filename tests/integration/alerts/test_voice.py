"""Groups, inhibition, silences, footprints, bulletins and repeats on a real database."""

import asyncio
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
import shapely
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg.types.json import Jsonb
from shapely.geometry import box

from alerts import event_repository, rule_repository, silences
from alerts.cap_sign import Signer
from alerts.deliver import Sender
from alerts.dispatch import plan
from alerts.event_rule import event_rule
from alerts.level import Level
from alerts.repeat import repeat_due
from alerts.rule import level_rule
from core.clock import FixedClock
from core.errors import Conflict, NotPermitted
from core.events import WarningReleased
from core.ids import derived_id, new_id
from geo import assess
from geo import repository as geo_repository
from ingest.cap.judge import Feed, SourcePolicy
from ingest.cap.signature import SignaturePolicy
from tests.integration.alerts.conftest import AREA, at

pytestmark = pytest.mark.sql


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def second_gauge(valley: Any, *, area: Any = AREA, **more: Any) -> int:
    """Another gauge with a rule like the first one's."""
    station = new_id()
    valley.conn.execute(
        "INSERT INTO station (station_id, code, name, lon, lat) VALUES (%s, 'norwood', 'Norwood', 80.1, 7.0)", [station]
    )
    row = valley.conn.execute(
        "INSERT INTO datastream (station_id, quantity, unit, interval_s) VALUES (%s, 'level', 'm', 600)"
        " RETURNING datastream_id",
        [station],
    ).fetchone()
    given: dict[str, Any] = {"hysteresis": 0.2, "clear_dwell": timedelta(minutes=30), "automatic": True}
    rule = level_rule(
        tenant_id=valley.tenant_id,
        code="norwood",
        datastream_id=row[0],
        thresholds={"alert": 3.0, "minor": 4.0, "major": 6.0},
        **(given | more),
    )
    async with valley.worker() as conn:
        await rule_repository.save_rule(conn, rule, area=area, area_desc={"en": "Norwood"}, effective_from=at(-1))
    return int(row[0])


async def at_gauge(valley: Any, stream: int, *readings: tuple[float, float | None]) -> None:
    own, valley.datastream_id = valley.datastream_id, stream
    try:
        await valley.see(*readings)
    finally:
        valley.datastream_id = own


def told(valley: Any) -> list[tuple[str, str, str, str]]:
    rows = valley.rows("SELECT * FROM warning ORDER BY sent_at, version")
    return [(str(row["warning_id"])[-4:], row["msg_type"], row["level"], row["state"]) for row in rows]


def test_two_gauges_of_one_area_speak_with_one_voice(valley: Any) -> None:
    red = Level.RED

    async def story() -> None:
        await valley.save_rule(automatic_ceiling=red)
        stream = await second_gauge(valley, automatic_ceiling=red)
        await valley.see((0.0, 6.5))  # red here
        await at_gauge(valley, stream, (1.0, 3.5))  # yellow there: nobody hears of it
        await at_gauge(valley, stream, (2.0, 6.6))  # red there too: the same again
        for minute in (10, 20, 30, 40, 50):
            await valley.see((minute, 1.0))  # low here; there it is red still
        for minute in (11, 21, 31, 41, 51, 61):
            await at_gauge(valley, stream, (minute, 3.5))  # easing there: now it is yellow
        for minute in (71, 81, 91, 101):
            await at_gauge(valley, stream, (minute, 1.0))

    go(story())
    assert [one[1:] for one in told(valley)] == [
        ("Alert", "red", "superseded"),
        ("Update", "yellow", "superseded"),
        ("Update", "none", "released"),
    ]
    assert len({one[0] for one in told(valley)}) == 1  # one warning, one chain
    rows = valley.rows(
        "SELECT reason, detail FROM decision WHERE reason IN ('grouped', 'inhibited_by_higher') ORDER BY at"
    )
    assert [row["reason"] for row in rows] == ["inhibited_by_higher", "grouped", "inhibited_by_higher"]
    assert rows[0]["detail"]["group_level"] == "red"
    # the text is about the gauge that stands highest
    text = valley.rows("SELECT texts FROM warning WHERE version = 2")[0]["texts"]["en"]["description"]
    assert "Norwood" in text
    assert "3.50 m" in text


def test_what_waits_for_people_does_not_keep_an_automatic_warning_back(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()  # by itself up to yellow
        stream = await second_gauge(valley)
        await valley.see((0.0, 6.5))  # red waits for two people
        await at_gauge(valley, stream, (1.0, 3.5))  # yellow goes out, and red waits on

    go(story())
    assert [one[1:] for one in told(valley)] == [
        ("Alert", "red", "superseded"),
        ("Alert", "yellow", "released"),
        ("Update", "red", "draft"),
    ]


def test_whoever_hears_worse_is_not_told_less_nor_that_all_is_clear(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=Level.RED)
        # the other area holds the person at 80.05 alone
        stream = await second_gauge(valley, area=box(79.9, 7.0, 80.07, 7.1), automatic_ceiling=Level.RED)
        await valley.see((0.0, 6.5))  # red for all three
        await at_gauge(valley, stream, (1.0, 3.5))  # yellow for one, who hears red already
        for minute in (10, 20, 30, 40):
            await valley.see((minute, 1.0))  # all clear, but not for the one in the yellow area

    go(story())
    rows = valley.rows("SELECT * FROM warning ORDER BY sent_at, version")
    assert [(row["level"], row["n_people"]) for row in rows] == [("red", 3), ("none", 2)]
    kept = valley.rows("SELECT detail FROM decision WHERE reason = 'inhibited_by_higher' ORDER BY at")
    assert kept[0]["detail"]["n_kept_out"] == 1

    go(valley.tick(41.0))
    rows = valley.rows("SELECT * FROM warning ORDER BY sent_at, version")
    # what stands for that person is said now, for the first time
    assert [(row["level"], row["n_people"], row["msg_type"]) for row in rows][2:] == [("yellow", 1, "Alert")]
    assert "warns of" in rows[2]["texts"]["en"]["description"]


def test_a_silence_holds_back_with_its_reason_and_what_stands_is_said_at_its_end(valley: Any) -> None:
    ann, bo = valley.approvers

    async def story() -> UUID:
        await valley.save_rule(automatic_ceiling=Level.RED)
        async with valley.worker() as conn:
            made = await silences.make(
                conn,
                principal_id=ann,
                tenant_id=valley.tenant_id,
                rule_code="kitulgala",
                up_to=Level.RED,
                ends_at=at(60),
                reason="the gauge is being cleaned",
                now=at(-1),
            )
        await valley.see((0.0, 4.5))
        return made.silence_id

    silence_id = go(story())
    assert valley.warnings() == []
    (row,) = valley.rows("SELECT * FROM decision WHERE reason = 'silenced'")
    assert row["detail"]["why"] == "the gauge is being cleaned"
    assert row["detail"]["author"] == str(ann)

    go(valley.see((10.0, 6.5)))  # one person does not silence red
    assert [one[1] for one in valley.warnings()] == ["red"]

    async def second(principal: UUID) -> None:
        async with valley.worker() as conn:
            await silences.agree(
                conn, principal_id=principal, tenant_id=valley.tenant_id, silence_id=silence_id, now=at(11)
            )

    with pytest.raises(NotPermitted):
        go(second(ann))
    go(second(bo))
    go(second(bo))  # twice is once

    async def end() -> None:
        async with valley.worker() as conn:
            await silences.end(conn, principal_id=bo, tenant_id=valley.tenant_id, silence_id=silence_id, now=at(12))

    go(end())
    with pytest.raises(Conflict):
        go(end())


def test_a_silence_of_yellow_ends_and_yellow_is_said(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        async with valley.worker() as conn:
            await silences.make(
                conn,
                principal_id=valley.approvers[0],
                tenant_id=valley.tenant_id,
                peril="flood",
                up_to=Level.YELLOW,
                ends_at=at(60),
                reason="exercise at the weir",
                now=at(-1),
            )
        await valley.see((0.0, 3.5))
        await valley.see((59.0, 3.5))

    go(story())
    assert valley.warnings() == []
    go(valley.tick(60.5))
    assert [one[1:3] for one in valley.warnings()] == [("yellow", "released")]


async def silence_of_first_gauge(valley: Any, *, begins: float, ends: float) -> None:
    (code,) = {row["code"] for row in valley.rows("SELECT code FROM rule")} - {"norwood"}
    async with valley.worker() as conn:
        await silences.make(
            conn, principal_id=valley.approvers[0], tenant_id=valley.tenant_id, rule_code=code, up_to=Level.ORANGE,
            ends_at=at(ends), reason="works at the gauge", now=at(begins),
        )  # fmt: skip


def test_what_a_silence_held_back_is_said_at_its_end_although_the_group_has_spoken(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=Level.RED)
        stream = await second_gauge(valley, automatic_ceiling=Level.RED)
        await at_gauge(valley, stream, (0.0, 3.5))  # yellow there, and said
        await silence_of_first_gauge(valley, begins=0.5, ends=30)
        await valley.see((1.0, 4.5))  # orange here, held back
        await valley.see((29.0, 4.5))

    go(story())
    assert [one[2:] for one in told(valley)] == [("yellow", "released")]
    go(valley.tick(30.5))
    assert [one[2:] for one in told(valley)] == [("yellow", "superseded"), ("orange", "released")]


def test_a_silence_of_one_gauge_leaves_its_neighbour_a_voice(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=Level.RED)
        stream = await second_gauge(valley, automatic_ceiling=Level.RED)
        await silence_of_first_gauge(valley, begins=-1, ends=120)
        await valley.see((0.0, 4.5))  # orange here, held back
        await at_gauge(valley, stream, (1.0, 3.5))  # yellow there

    go(story())
    assert [one[2:] for one in told(valley)] == [("yellow", "released")]


# ---------------------------------------------------------------- footprints


def exposure(valley: Any, *, code: str, area: Any, policies: int, tiv: str, unknown: int, minute: float) -> UUID:
    """An event with a footprint, laid over one portfolio."""
    event_id, footprint_id = derived_id("event", code), new_id()
    portfolio = derived_id("portfolio", valley.tenant_id)
    valley.conn.execute(
        "INSERT INTO portfolio (portfolio_id, tenant_id, name, currency, source_sha256, imported_at)"
        " VALUES (%s, %s, 'Homes', 'EUR', '', %s) ON CONFLICT DO NOTHING",
        [portfolio, valley.tenant_id, at(-60)],
    )
    valley.conn.execute(
        "INSERT INTO hazard_event (hazard_event_id, tenant_id, code, peril, name, started_at)"
        " VALUES (%s, %s, %s, 'flood', 'Kelani flood', %s) ON CONFLICT DO NOTHING",
        [event_id, valley.tenant_id, code, at(-60)],
    )
    row = valley.conn.execute(
        "SELECT coalesce(max(version), 0) + 1 FROM footprint WHERE hazard_event_id = %s", [event_id]
    ).fetchone()
    valley.conn.execute(
        "INSERT INTO footprint (footprint_id, hazard_event_id, tenant_id, version, valid_at, made_how, geometry)"
        " VALUES (%s, %s, %s, %s, %s, 'drawn', %s)",
        [footprint_id, event_id, valley.tenant_id, row[0], at(minute), shapely.to_wkb(area)],
    )
    valley.conn.execute(
        "INSERT INTO assessment (assessment_id, tenant_id, portfolio_id, footprint_id, n_locations, n_policies,"
        " exposed_tiv, n_unknown, unknown_tiv, currency, computed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 0, 'EUR', %s)",
        [new_id(), valley.tenant_id, portfolio, footprint_id, policies, policies, tiv, unknown, at(minute)],
    )
    return event_id


async def keep_event_rule(valley: Any, code: str, definition: dict[str, Any]) -> None:
    rule = event_rule(
        rule_id=derived_id("rule", valley.tenant_id, code),
        version=1,
        tenant_id=valley.tenant_id,
        code=code,
        definition=definition,
    )
    async with valley.worker() as conn:
        await rule_repository.save_rule(conn, rule, area=None, area_desc={}, effective_from=at(-1))


def test_a_footprint_that_meets_exposure_warns_whoever_is_inside(valley: Any) -> None:
    definition = {
        "kind": "footprint",
        "automatic": True,
        "automatic_ceiling": "red",
        "exposure": {"yellow": {"policies": 3}, "red": {"insured_value": "1000000"}},
    }
    go(keep_event_rule(valley, "homes", definition))
    inside = box(80.0, 7.0, 80.1, 7.1)
    exposure(valley, code="kelani", area=inside, policies=2, tiv="500.00", unknown=0, minute=0)
    go(valley.tick(1))
    assert valley.warnings() == []  # two policies are not three
    exposure(valley, code="kelani", area=inside, policies=2, tiv="500.00", unknown=1, minute=5)
    go(valley.tick(6))
    go(valley.tick(7))  # looked at twice, said once
    assert valley.warnings() == [(1, "yellow", "released", "exposure_reached")]  # the unknown one counts
    (row,) = valley.rows("SELECT * FROM warning")
    assert (row["n_people"], row["certainty"]) == (1, "Likely")
    assert "Kelani flood" in row["texts"]["en"]["description"]
    (why,) = valley.rows("SELECT detail FROM decision WHERE reason = 'exposure_reached'")
    assert why["detail"]["n_unknown"] == 1

    exposure(valley, code="kelani", area=box(80.0, 7.0, 80.2, 7.1), policies=9, tiv="2000000.00", unknown=0, minute=20)
    go(valley.tick(21))
    assert valley.warnings()[-1] == (2, "red", "released", "exposure_changed")
    assert valley.rows("SELECT n_people FROM warning WHERE version = 2")[0]["n_people"] == 3
    go(valley.tick(21 + 7 * 60))  # nobody draws it any more: held, renewed, never cleared
    assert "held_on_silence" in valley.reasons()
    assert "all_clear" not in valley.reasons()

    async def over() -> None:
        async with valley.worker() as conn:
            event = await geo_repository.event_of_code(conn, "kelani", valley.tenant_id)
            await assess.end_event(conn, event, at=at(500), by="Ann", now=at(500))

    go(over())
    go(valley.tick(501))
    assert valley.warnings()[-1][1:] == ("none", "released", "all_clear")


# ---------------------------------------------------------------- bulletins


def bulletin(
    valley: Any, identifier: str, *, severity: str, minute: float, area: Any = AREA, ends: UUID | None = None,
    msg_type: str = "Alert", until: float = 600,
) -> UUID:  # fmt: skip
    feed = derived_id("feed")
    valley.conn.execute(
        "INSERT INTO feed (feed_id, code, kind, name, url) VALUES (%s, 'dmc', 'cap', 'DMC', 'https://dmc.example/')"
        " ON CONFLICT DO NOTHING",
        [feed],
    )
    made = new_id()
    valley.conn.execute(
        "INSERT INTO bulletin (bulletin_id, feed_id, seen_at, raw_sha256, raw, verdict, would_notify, sender, identifier,"
        " sent_at, status, msg_type, event, severity, headline, expires_at, area)"
        " VALUES (%s, %s, %s, %s, '', 'accept', %s, 'dmc.gov.lk', %s, %s, 'Actual', %s, 'Flood', %s,"
        " 'Flood warning for the Kelani', %s, %s)",
        [
            made, feed, at(minute), identifier.encode(), msg_type != "Cancel", identifier, at(minute), msg_type,
            severity, at(until), shapely.to_wkb(area),
        ],
    )  # fmt: skip
    if ends is not None:
        valley.conn.execute("UPDATE bulletin SET ended_by = %s WHERE bulletin_id = %s", [made, ends])
    return made


def test_an_authoritys_bulletin_is_passed_on_by_name_and_wins_over_our_own_word(valley: Any) -> None:
    definition = {"kind": "bulletin", "senders": ["dmc.gov.lk"], "automatic": True, "automatic_ceiling": "red"}

    async def story() -> None:
        await keep_event_rule(valley, "dmc", definition)
        await valley.save_rule(automatic_ceiling=Level.RED)

    go(story())
    first = bulletin(valley, "b1", severity="Severe", minute=0)
    bulletin(valley, "other", severity="Unknown", minute=0, area=box(81, 7, 81.1, 7.1))
    go(valley.tick(1))
    go(valley.tick(2))
    assert valley.warnings() == [(1, "orange", "released", "official_bulletin")]
    (row,) = valley.rows("SELECT * FROM warning")
    assert (row["authority"], row["expires_at"]) == ("dmc.gov.lk", at(600))
    assert "dmc.gov.lk has issued an official orange warning" in row["texts"]["en"]["description"]
    assert "Kelani Mutual passes it on" in row["texts"]["en"]["description"]
    assert valley.reasons().count("severity_unknown") == 1  # a person looks; nobody assumes how bad it is

    go(valley.see((5.0, 4.5)))  # our gauge says orange too: the authority's word stands
    assert len(valley.warnings()) == 1
    assert "official_stands" in valley.reasons()
    go(valley.see((10.0, 6.5)))  # ours says red, the authority orange: people decide
    assert valley.warnings()[-1][1:] == ("red", "draft", "escalated")
    assert "draft_above_official" in valley.reasons()

    second = bulletin(valley, "b2", severity="Extreme", minute=15, ends=first, msg_type="Update")
    go(valley.tick(16))
    assert valley.warnings()[-1] == (2, "red", "released", "official_changed")
    bulletin(valley, "b3", severity="Extreme", minute=30, ends=second, msg_type="Cancel")
    go(valley.tick(31))
    assert valley.warnings()[-1] == (3, "none", "released", "official_ended")
    go(valley.tick(32))
    assert len([one for one in valley.warnings() if one[3].startswith("official")]) == 3


def test_a_group_speaks_at_once_to_whom_a_bulletin_that_ran_out_kept_from_it(valley: Any) -> None:
    definition = {"kind": "bulletin", "senders": ["dmc.gov.lk"], "automatic": True, "automatic_ceiling": "red"}

    async def story() -> None:
        await keep_event_rule(valley, "dmc", definition)
        await valley.save_rule(automatic_ceiling=Level.RED)
        stream = await second_gauge(valley, automatic_ceiling=Level.RED)
        # an authority speaks to the person at 80.05 alone, until minute 40, and says no end
        bulletin(valley, "b1", severity="Severe", minute=0, area=box(79.9, 7.0, 80.07, 7.1), until=40)
        await valley.tick(1)
        await valley.see((5.0, 4.5))
        await at_gauge(valley, stream, (6.0, 4.6))

    go(story())
    ours = valley.rows("SELECT * FROM warning WHERE authority IS NULL ORDER BY version")
    assert [(row["level"], row["n_people"]) for row in ours] == [("orange", 2)]
    go(valley.tick(41))
    go(valley.tick(42))
    ours = valley.rows("SELECT * FROM warning WHERE authority IS NULL ORDER BY version")
    assert [(row["level"], row["n_people"]) for row in ours] == [("orange", 2), ("orange", 3)]
    go(valley.tick(43))  # and not again
    assert len(valley.rows("SELECT * FROM warning WHERE authority IS NULL")) == 2


# ---------------------------------------------------------------- said again


def test_a_red_warning_is_said_again_every_half_hour_until_it_is_answered(valley: Any) -> None:
    async def story() -> tuple[UUID, int]:
        await valley.save_rule(automatic_ceiling=Level.RED)
        await valley.see((0.0, 6.5))
        (row,) = valley.rows("SELECT warning_id, version FROM warning")
        async with valley.worker() as conn:
            event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
            await plan(conn, event, clock=FixedClock(at(0)))
        return row["warning_id"], row["version"]

    warning_id, _ = go(story())
    valley.conn.execute("UPDATE delivery SET state = 'accepted', accepted_at = %s WHERE channel = 'web_push'", [at(1)])

    async def again(minute: float) -> int:
        async with valley.worker() as conn:
            return await repeat_due(conn, at(minute))

    assert go(again(30)) == 0  # not yet half an hour
    assert go(again(31)) == 2
    assert go(again(32)) == 0  # that one is on its way
    rows = valley.rows("SELECT * FROM delivery WHERE repeat = 1")
    assert {row["channel"] for row in rows} == {"web_push"}
    assert len({row["delivery_id"] for row in valley.rows("SELECT * FROM delivery")}) == 5  # keys of their own
    valley.conn.execute("UPDATE delivery SET state = 'accepted', accepted_at = %s WHERE repeat = 1", [at(32)])
    valley.conn.execute(
        "INSERT INTO answer (answer_id, tenant_id, policyholder_id, warning_id, kind, idempotency_key, answered_at)"
        " VALUES (%s, %s, %s, %s, 'safe', 'k', %s)",
        [new_id(), valley.tenant_id, valley.people[0], warning_id, at(40)],
    )
    assert go(again(62)) == 1  # the other one has not answered
    assert [
        row["detail"]["n_people"] for row in valley.rows("SELECT detail FROM decision WHERE reason = 'repeated'")
    ] == [2, 1]
    valley.conn.execute("UPDATE delivery SET state = 'accepted', accepted_at = %s WHERE repeat = 2", [at(63)])
    valley.conn.execute("UPDATE tenant SET settings = settings || %s", [Jsonb({"repeat_min": {"red": 0}})])
    assert go(again(120)) == 0  # turned off


def test_red_of_two_people_is_silenced_and_not_said_again(valley: Any) -> None:
    async def story() -> list[Any]:
        await valley.save_rule(automatic_ceiling=Level.RED)
        async with valley.worker() as conn:
            made = await silences.make(
                conn,
                principal_id=valley.approvers[0],
                tenant_id=valley.tenant_id,
                rule_code="kitulgala",
                up_to=Level.RED,
                ends_at=at(60),
                reason="the gauge is in the workshop",
                now=at(-1),
            )
            await silences.agree(
                conn,
                principal_id=valley.approvers[1],
                tenant_id=valley.tenant_id,
                silence_id=made.silence_id,
                now=at(-1),
            )
        await valley.see((0.0, 6.5))
        async with valley.worker() as conn:
            return await event_repository.live_silences(conn, valley.tenant_id, at(0))

    (stands,) = go(story())
    assert stands.ceiling is Level.RED
    assert valley.warnings() == []
    assert valley.reasons().count("silenced") == 1


def test_what_a_sender_hands_over_is_signed(valley: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "warnings.example.org")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(9)
        .not_valid_before(at(-60)).not_valid_after(at(60)).sign(key, hashes.SHA256())
    )  # fmt: skip

    async def story() -> bytes:
        await valley.save_rule(automatic_ceiling=Level.RED)
        await valley.see((0.0, 6.5))
        (row,) = valley.rows("SELECT warning_id, version FROM warning")
        sender = Sender(pool=cast(Any, None), channels={}, key=b"", public_url="", signer=Signer(key, made))
        async with valley.worker() as conn:
            return (await sender._warning(conn, row["warning_id"], row["version"]))[1]

    document = go(story())
    policy = SignaturePolicy(signature="require", certificates=(made,))
    judged = Feed(default=SourcePolicy(signature=policy)).judge(document, at(1))
    assert "signature" not in " ".join(judged.reasons), judged.reasons
    tampered = Feed(default=SourcePolicy(signature=policy)).judge(document.replace(b"6.50 m", b"2.50 m"), at(1))
    assert "signature" in " ".join(tampered.reasons)
