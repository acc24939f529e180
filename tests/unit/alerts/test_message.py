"""Every text of every language has its parts; links, payloads and areas do what they say."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from pydantic import SecretStr
from shapely.geometry import LineString, MultiPolygon, Polygon, box

from alerts import audience, links, message, payload
from alerts.alert import Alert, Recipient, Text, content_sha256
from alerts.level import Level
from alerts.lifecycle import Message, Reason
from alerts.message import Facts, render
from alerts.prevention import Home
from alerts.rule import level_rule
from alerts.sms import fit
from alerts.steps import told_steps
from core.errors import InvalidInput
from core.settings import Settings

SENT = datetime(2025, 11, 28, 6, 30, tzinfo=UTC)


def facts(**more: object) -> Facts:
    base = Facts(
        message=Message.FIRST,
        level=Level.RED,
        event="flood",
        quantity="level",
        value=6.31,
        threshold=6.0,
        reading_at=SENT - timedelta(minutes=2),
        issued_at=SENT,
        expires_at=SENT + timedelta(hours=6),
        silent=False,
        timezone="Asia/Colombo",
        place={"en": "Kitulgala", "zh": "基图尔加勒"},
        area={"en": "Kelani valley", "zh": "凯拉尼河谷"},
        source={"en": "Kelani Mutual", "zh": "凯拉尼互助"},
        exercise=False,
    )
    return replace(base, **more)  # type: ignore[arg-type]


CASES = list(
    product(
        message.languages(), Message, (Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED), (False, True), (False, True)
    )
)


@pytest.mark.parametrize(("language", "kind", "one", "exercise", "silent"), CASES)
def test_every_text_says_who_where_when_and_what_to_do(
    language: str, kind: Message, one: Level, exercise: bool, silent: bool
) -> None:
    told = facts(message=kind, level=one, exercise=exercise, silent=silent)
    text = render(told, language)
    whole = "\n".join([text.headline, text.description, text.instruction])
    assert "{" not in whole
    assert told.area[language] in text.description
    assert told.source[language] in text.description
    assert told.place[language] in whole
    # a time is never without its zone: 11:58 or 12:00 in Colombo
    assert "UTC+05:30" in text.description
    assert any(clock in text.description for clock in ("11:58", "12:00"))
    assert len(text.instruction) > 10
    mark = {"en": "EXERCISE", "zh": "【演练】"}[language]
    for part in (text.headline, text.description, text.instruction):
        assert part.startswith(mark) == exercise
    assert "not a drill" not in whole.lower()
    assert "不是演习" not in whole
    if kind is Message.RENEW and silent:
        assert {"en": "unknown", "zh": "不明"}[language] in text.description
    if kind not in (Message.ALL_CLEAR, Message.CANCEL):
        assert "18:00" in text.description  # until when
        assert message.catalogue(language)["level"][one.word] in text.headline


def test_the_catalogues_say_the_same_things() -> None:
    def shape(told: object) -> object:
        return {key: shape(value) for key, value in told.items()} if isinstance(told, dict) else None

    shapes = [shape(message.catalogue(one)) for one in message.catalogues()]
    assert len(shapes) >= 7
    assert all(one == shapes[0] for one in shapes)


def test_a_missing_language_is_counted_and_falls_back() -> None:
    assert message.missing_languages(["en", "ta", "ta", "zh-Hant", "si"], "en") == {"ta": 2, "si": 1}
    assert message.language_with_texts("zh-Hant", "en") == ("zh", True)
    assert message.language_with_texts("ta", "zh") == ("zh", False)
    assert message.language_with_texts("ta", "xx") == ("en", False)
    with pytest.raises(message.NoCatalogue):
        render(facts(), "xx")


def test_a_language_without_a_named_reviewer_is_never_sent() -> None:
    assert set(message.catalogues()) >= {"en", "zh", "fr", "es", "si", "ta", "ar"}
    assert message.languages() == ("en", "zh")
    assert set(message.render_all(facts())) == {"en", "zh"}
    # a tenant names who answers for it; a blank name is none
    named = {"ta": "N. Reviewer", "si": " "}
    assert set(message.render_all(facts(), "en", named)) == {"en", "ta", "zh"}
    assert message.language_with_texts("ta-LK", "en", named) == ("ta", True)
    assert message.missing_languages(["ta", "si"], "en", named) == {"si": 1}


@pytest.mark.parametrize("language", ["fr", "es", "si", "ta", "ar"])
@pytest.mark.parametrize("kind", list(Message))
@pytest.mark.parametrize("one", [Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED])
def test_unreviewed_texts_are_whole_all_the_same(language: str, kind: Message, one: Level) -> None:
    text = render(facts(message=kind, level=one, exercise=True), language)
    mark = message.catalogue(language)["exercise"]
    for part in (text.headline, text.description, text.instruction, text.sms, text.say):
        assert "{" not in part
        assert part.startswith(mark)
    assert "Kelani Mutual" in text.description
    assert "Kelani Mutual" in text.sms
    assert "UTC+05:30" in text.description


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("one", [Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED])
def test_a_text_message_has_every_part_in_one_part(language: str, one: Level) -> None:
    """Who, what, where, when, what to do, until when, and this household's leave-by."""
    text = render(facts(level=one, exercise=True), language)
    told = {"route": {"leave_by": (SENT + timedelta(minutes=40)).isoformat()}}
    sms = fit(message.text_message(text, told, language))
    for part in (facts().source[language], facts().area[language], "12:00", "18:00 UTC+5:30"):
        assert part in sms.text
    assert message.catalogue(language)["event"]["flood"] in sms.text
    assert sms.text.startswith({"en": "EXERCISE", "zh": "【演练】"}[language])
    if language == "zh":
        assert (sms.alphabet, sms.n_parts) == ("ucs2", 1)
    else:
        assert sms.alphabet == "gsm7"
        assert sms.n_parts <= 2
    if one is Level.RED and language == "zh":
        assert "12:40前出发" in sms.text
    spoken = message.spoken_text(text, told, language)
    assert "12:40" in spoken
    assert message.catalogue(language)["keys"] in spoken
    ended = message.text_message(text, told | {"all_clear": True}, language)
    assert ended == [text.sms]


def test_a_text_without_place_area_or_source_is_refused() -> None:
    for part in ("place", "area", "source"):
        with pytest.raises(InvalidInput, match=part):
            render(facts(**{part: {}}), "en")


# ---------------------------------------------------------------- the hash


def alert(**more: object) -> Alert:
    base = Alert(
        warning_id=UUID(int=5),
        version=1,
        tenant_id=UUID(int=1),
        rule_id=None,
        exercise=True,
        status="Exercise",
        msg_type="Alert",
        level=Level.RED,
        all_clear=False,
        reason="level_reached",
        identifier="tocsin.5.1",
        sender="a@b",
        sent_at=SENT,
        expires_at=SENT + timedelta(hours=6),
        area=box(80.1, 6.9, 80.3, 7.0),
        area_desc={"en": "valley"},
        texts={"en": Text(headline="h", description="d", instruction="i")},
    )
    return replace(base, **more)  # type: ignore[arg-type]


PEOPLE = [
    Recipient(policyholder_id=UUID(int=i), channel="email", contact_point_id=UUID(int=100 + i), language="en")
    for i in range(3)
]


@pytest.mark.parametrize(
    "changed",
    [
        (alert(area=box(80.1, 6.9, 80.3, 7.0001)), PEOPLE),
        (alert(texts={"en": Text(headline="h", description="d", instruction="j")}), PEOPLE),
        (alert(level=Level.ORANGE), PEOPLE),
        (alert(version=2), PEOPLE),
        (alert(expires_at=SENT), PEOPLE),
        (alert(area_desc={"en": "town"}), PEOPLE),
        (alert(severity="Minor"), PEOPLE),
        (alert(certainty="Likely"), PEOPLE),
        (alert(stage={"en": "Major"}), PEOPLE),
        (alert(authority="DMC"), PEOPLE),
        (alert(incident="group:1"), PEOPLE),
        (alert(), PEOPLE[:2]),
        (alert(), [*PEOPLE[:2], replace(PEOPLE[2], channel="sms")]),
    ],
)
def test_any_change_of_content_changes_the_hash(changed: tuple[Alert, list[Recipient]]) -> None:
    assert content_sha256(*changed) != content_sha256(alert(), PEOPLE)


def test_the_same_content_written_otherwise_has_the_same_hash() -> None:
    turned = Polygon([(80.3, 6.9), (80.3, 7.0), (80.1, 7.0), (80.1, 6.9)])
    assert content_sha256(alert(area=turned), PEOPLE[::-1]) == content_sha256(alert(), PEOPLE)


# ---------------------------------------------------------------- links


LINK = links.Link(
    tenant_id=UUID(int=1), policyholder_id=UUID(int=2), warning_id=UUID(int=3), expires_at=SENT + timedelta(days=1)
)
KEY = b"k" * 32


def test_a_link_comes_back_until_its_time_is_over() -> None:
    token = links.sign_link(LINK, key=KEY)
    assert links.read_link(token, key=KEY, now=SENT) == LINK
    assert links.read_link(token, key=KEY, now=LINK.expires_at) is None
    assert links.read_link(links.sign_link(replace(LINK, warning_id=None), key=KEY), key=KEY, now=SENT) == replace(
        LINK, warning_id=None
    )


def test_no_byte_of_a_link_can_be_changed() -> None:
    token = links.sign_link(LINK, key=KEY)
    assert links.read_link(token, key=b"x" * 32, now=SENT) is None
    for index in range(len(token)):
        other = "A" if token[index] != "A" else "B"
        assert links.read_link(token[:index] + other + token[index + 1 :], key=KEY, now=SENT) is None, index
    for bad in ("", ".", token[:-1], token + "=", token.replace(".", ""), "é", "x" * 5000, token + "." + token):
        assert links.read_link(bad, key=KEY, now=SENT) is None


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(links.WeakKey):
        links.sign_link(LINK, key=b"short")


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "var")
    first = links.secret_key(settings)
    assert links.secret_key(settings) == first
    assert len(first) >= 32
    assert [file.name for file in (tmp_path / "var").iterdir()] == ["secret.key"]
    assert (tmp_path / "var" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert links.secret_key(Settings(secret_key=SecretStr("x" * 20))) == b"x" * 20


# ---------------------------------------------------------------- payload


def test_a_route_carries_its_line_as_the_published_example() -> None:
    # Google, "Encoded Polyline Algorithm Format", worked example
    line = LineString([(-120.2, 38.5), (-120.95, 40.7), (-126.453, 43.252)])
    drawn = payload.route(payload.WayOut(status="clear", leave_by=None, line=line))
    assert drawn["polyline"] == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"


def test_distance_is_a_known_one() -> None:
    # one degree of latitude on the mean sphere: pi / 180 * 6371.0088 km
    assert payload.distance_m(80, 6, 80, 7) == pytest.approx(111_195.08, abs=0.5)


def told(line: LineString | None) -> dict[str, object]:
    way_out = payload.WayOut(status="clear", leave_by=SENT, line=line)
    return payload.build(
        alert(),
        Text(headline="头" * 20, description="描" * 300, instruction="撤" * 80),
        language="zh",
        delivery_id=UUID(int=9),
        url="http://here/now#t=" + "x" * 200,
        way_out=way_out,
        safe_zones=[payload.SafeZone(names={"en": f"zone {i}"}, lon=80, lat=7) for i in range(3)],
    )


@pytest.mark.parametrize("n", [2, 500, 20_000])
def test_a_push_fits_whatever_the_route(n: int) -> None:
    t = np.linspace(0, 40, n)
    line = LineString(np.column_stack([80 + t / 100 + np.sin(t * 9) / 2000, 7 + np.sin(t) / 50]))
    body = payload.to_push(told(line), line, 3887)
    assert len(body) <= 3887
    back = json.loads(body)
    assert back["instruction"] == "撤" * 80
    assert back["route"]["leave_by"] == SENT.isoformat()
    assert len(back["safe_zones"]) == 3
    assert back["route"]["polyline"]  # coarser, but there


LONG_NAMES = {
    "en": "Kitulgala and Yatiyantota",
    "si": "කිතුල්ගල සහ යටියන්තොට",
    "ta": "கித்துல்கல மற்றும் யட்டியாந்தோட்டை",
    "ar": "كيتولغالا ويتيانتوتا",
}


@pytest.mark.parametrize("language", message.catalogues())
@pytest.mark.parametrize("ordered", [False, True])
def test_the_way_out_is_in_the_push_of_every_language(language: str, ordered: bool) -> None:
    """Letters of Tamil take three bytes each: its description makes room for the way, not the other way round."""
    area = {one: f"{name} {name}" for one, name in LONG_NAMES.items()}
    text = render(facts(exercise=True, silent=True, place=LONG_NAMES, area=area, source=LONG_NAMES), language)
    t = np.linspace(0, 40, 3000)
    line = LineString(np.column_stack([80 + t / 100 + np.sin(t * 9) / 2000, 7 + np.sin(t) / 50]))
    home = Home(depth_m=1.2, lead_min=240.0, building_value=2e5, contents_value=1e5, car_value=2e4, has_car=True)
    said: dict[str, object] = payload.build(
        alert(), text, language=language, delivery_id=UUID(int=9),
        url="https://warn.insurer.example.org/me#t=" + "x" * 93,
        way_out=payload.WayOut(status="clear", leave_by=SENT, line=line),
        safe_zones=[payload.SafeZone(names=LONG_NAMES, lon=80.1, lat=7.1)] * 3,
    ) | {"as_of": SENT.isoformat(), "steps": told_steps(home, language)}  # fmt: skip
    if ordered:
        authority = (LONG_NAMES.get(language, LONG_NAMES["en"]) * 4)[:80]
        order = {"kind": "evacuate", "authority": authority, "issued": SENT.isoformat(), "expires": SENT.isoformat()}
        text = message.ordered(text, order, language, exercise=True)
        said |= {"official_order": order, "headline": text.headline, "instruction": text.instruction}
    body = payload.to_push(said, line, 3887)
    back = json.loads(body)
    assert len(body) <= 3887
    assert len(back["route"]["polyline"]) > 300
    assert back["route"]["leave_by"] == SENT.isoformat()
    assert (back["headline"], back["instruction"]) == (text.headline, text.instruction)
    assert len(back["steps"]) == len(back["safe_zones"]) == 3


def test_the_nearest_zones_come_first() -> None:
    zones = [payload.SafeZone(names={"en": str(i)}, lon=80 + i / 10, lat=7) for i in (3, 1, 2, 4)]
    assert [one.names["en"] for one in payload.nearest(zones, (80.0, 7.0))] == ["1", "2", "3"]
    assert payload.nearest(zones, None) == []


# ---------------------------------------------------------------- areas and release


@pytest.mark.parametrize(
    ("area", "reason"),
    [
        (None, Reason.HELD_AREA_MISSING),
        (Polygon(), Reason.HELD_AREA_EMPTY),
        (LineString([(0, 0), (1, 1)]), Reason.HELD_AREA_INVALID),
        (Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), Reason.HELD_AREA_INVALID),
        (box(-180, -90, 180, 90), Reason.HELD_AREA_TOO_LARGE),
        (box(-179.9, 10, 179.9, 10.001), Reason.HELD_AREA_TOO_LARGE),  # meant to cross the antimeridian
        (box(80, 7, 190, 8), Reason.HELD_AREA_INVALID),
        (box(7, 80, 7.1, 95), Reason.HELD_AREA_INVALID),  # lat and lon swapped
        (box(80, 7, 80.2, 7.1), None),
        (MultiPolygon([box(80, 7, 80.2, 7.1), box(81, 7, 81.2, 7.1)]), None),
    ],
)
def test_areas_that_are_not_right(area: Polygon | None, reason: Reason | None) -> None:
    assert audience.hold_reason(area, 50_000) is reason


def test_area_is_that_of_the_ellipsoid_whichever_way_the_ring_runs() -> None:
    square = box(80, 0, 81, 1)
    backwards = Polygon(list(square.exterior.coords)[::-1])
    # 1 x 1 degree at the equator on WGS84: 12,308.8 km2 (Karney's Planimeter)
    assert audience.area_km2(square) == pytest.approx(12_308.8, rel=1e-4)
    assert audience.area_km2(backwards) == pytest.approx(audience.area_km2(square))


def test_how_a_version_may_go_out() -> None:
    one = level_rule(
        tenant_id=UUID(int=1), code="x", datastream_id=1, thresholds={"alert": 1.0, "major": 2.0}, automatic=True
    )

    def needed(rule: object = one, level: Level = Level.YELLOW, **more: object) -> tuple[int, Reason]:
        given = {"n_people": 10, "held": None, "usual": None, "auto_release_people": 500} | more
        got = audience.release(rule, level=level, **given)  # type: ignore[arg-type]
        return got.approvals_needed, got.reason

    assert needed() == (0, Reason.RELEASED_AUTOMATICALLY)
    assert needed(level=Level.NONE) == (0, Reason.RELEASED_AUTOMATICALLY)
    assert needed(level=Level.ORANGE) == (2, Reason.DRAFT_ABOVE_CEILING)
    assert needed(n_people=500) == (0, Reason.RELEASED_AUTOMATICALLY)
    assert needed(n_people=501) == (2, Reason.DRAFT_AUDIENCE_TOO_LARGE)
    assert needed(usual=10, n_people=100) == (0, Reason.RELEASED_AUTOMATICALLY)
    assert needed(usual=10, n_people=101) == (2, Reason.DRAFT_AUDIENCE_UNUSUAL)
    assert needed(usual=2, n_people=50) == (0, Reason.RELEASED_AUTOMATICALLY)
    assert needed(replace(one, automatic=False)) == (1, Reason.DRAFT_NOT_AUTOMATIC)
    assert needed(held=Reason.HELD_AREA_MISSING) == (2, Reason.HELD_AREA_MISSING)


def test_who_is_told_first() -> None:
    lon, lat = np.array([0.5, 1.5, 2.5, 9.0]), np.array([0.5, 0.5, 0.5, 0.5])
    zones = [(120.0, box(1, 0, 3, 1)), (30.0, box(1, 0, 2, 1))]
    red = audience.priorities(Level.RED, lon, lat, box(0, 0, 1, 1), zones)
    assert list(np.argsort(red)) == [0, 1, 2, 3]
    assert red.max() < audience.priorities(Level.ORANGE, lon, lat, box(0, 0, 1, 1), zones).min()
    assert len(set(audience.priorities(Level.RED, lon, lat, None, []))) == 1


def test_edges_are_inside() -> None:
    found = audience.inside(box(0, 0, 1, 1), np.array([0.0, 1.0, 1.0001]), np.array([0.0, 0.5, 0.5]))
    assert list(found) == [True, True, False]
