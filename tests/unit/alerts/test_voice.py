"""One voice for several rules, silences, rules without a gauge and tables of levels: the cases that a page can show."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from alerts.event_rule import Bar, EventRule, Exposure, event_definition, event_rule, exposure_level
from alerts.level import Level
from alerts.lifecycle import Decision, Message, Reason
from alerts.rule import BadRule
from alerts.scheme import BadScheme, LevelScheme, read_scheme, scheme_json
from alerts.silence import BadSilence, Silence, check_silence
from alerts.voice import Member, Other, Said, group_says, hears, says_again, under_silence

T0 = datetime(2026, 1, 1, tzinfo=UTC)
A, B = UUID(int=1), UUID(int=2)


def decision(message: Message, after: Level, before: Level = Level.NONE) -> Decision:
    return Decision(reason=Reason.LEVEL_REACHED, at=T0, before=before, after=after, message=message)


def says(
    one: Decision, mine: tuple[Level, Level], other: Level, sent_h: float | None = None, sent: Level | None = None
) -> tuple[object, object]:
    said = group_says(
        one,
        mine=A,
        members=[Member(rule_id=A, before=mine[0], after=mine[1]), Member(rule_id=B, before=other, after=other)],
        newest_sent=T0 - timedelta(hours=sent_h) if sent_h is not None else None,
        newest_level=max(mine[0], other) if sent is None else sent,
        renew_after=timedelta(hours=3),
    )
    return said.message, said.level if said.message is not None else said.reason


NONE, YELLOW, ORANGE, RED = Level.NONE, Level.YELLOW, Level.ORANGE, Level.RED


@pytest.mark.parametrize(
    ("message", "mine", "other", "sent_h", "told"),
    [
        (Message.FIRST, (NONE, YELLOW), NONE, None, (Message.FIRST, YELLOW)),
        (Message.FIRST, (NONE, RED), YELLOW, 1, (Message.RAISE, RED)),  # the group's warning gets worse
        (Message.FIRST, (NONE, YELLOW), RED, 1, (None, Reason.INHIBITED_BY_HIGHER)),
        (Message.FIRST, (NONE, RED), RED, 1, (None, Reason.GROUPED)),
        (Message.LOWER, (RED, YELLOW), ORANGE, 1, (Message.LOWER, ORANGE)),  # down to what the other still says
        (Message.LOWER, (RED, YELLOW), RED, 1, (None, Reason.INHIBITED_BY_HIGHER)),
        (Message.ALL_CLEAR, (RED, NONE), YELLOW, 1, (Message.LOWER, YELLOW)),
        (Message.ALL_CLEAR, (YELLOW, NONE), NONE, 1, (Message.ALL_CLEAR, NONE)),
        (Message.RENEW, (YELLOW, YELLOW), YELLOW, 1, (None, Reason.GROUPED)),
        (Message.RENEW, (YELLOW, YELLOW), RED, 3, (Message.RENEW, RED)),  # whichever rule's timer it was
        (Message.CANCEL, (RED, NONE), RED, 1, (Message.CANCEL, NONE)),
    ],
)
def test_what_a_group_says(
    message: Message, mine: tuple[Level, Level], other: Level, sent_h: float | None, told: tuple[object, object]
) -> None:
    assert says(decision(message, mine[1], mine[0]), mine, other, sent_h) == told


@pytest.mark.parametrize(("sent", "message"), [(YELLOW, Message.RAISE), (RED, Message.RENEW)])
def test_what_a_silence_held_back_of_a_group_does_not_wait_for_its_renewal(sent: Level, message: Message) -> None:
    """One rule stands at orange, which a silence held back beside the yellow, or the red, that was said before."""
    renewal = decision(Message.RENEW, ORANGE, ORANGE)
    assert says(renewal, (ORANGE, ORANGE), YELLOW, 1, sent) == (message, ORANGE)
    assert says(renewal, (ORANGE, ORANGE), YELLOW, 1, ORANGE) == (None, Reason.GROUPED)  # said by now


@pytest.mark.parametrize(
    ("message", "mine", "told"),
    [
        (Message.FIRST, (NONE, YELLOW), (Message.FIRST, YELLOW)),
        (Message.RAISE, (YELLOW, ORANGE), (Message.RAISE, ORANGE)),
        (Message.RENEW, (YELLOW, YELLOW), (Message.RENEW, YELLOW)),
        (Message.LOWER, (ORANGE, YELLOW), (None, Reason.INHIBITED_BY_HIGHER)),  # it does not ease beside it
        (Message.ALL_CLEAR, (YELLOW, NONE), (None, Reason.INHIBITED_BY_HIGHER)),
    ],
)
def test_a_silence_of_one_rule_is_none_of_its_neighbours(
    message: Message, mine: tuple[Level, Level], told: tuple[object, object]
) -> None:
    """The neighbour stands at red, which a silence of two holds back; nobody has heard of it."""
    members = [
        Member(rule_id=A, before=mine[0], after=mine[1]),
        Member(rule_id=B, before=RED, after=RED, held=True),
    ]

    def says_beside(sent: Level) -> Said:
        return group_says(
            decision(message, mine[1], mine[0]), mine=A, members=members, newest_sent=T0 - timedelta(hours=1),
            newest_level=sent, renew_after=timedelta(hours=3),
        )  # fmt: skip

    said = says_beside(mine[0])
    assert (said.message, said.level if said.message is not None else said.reason) == told
    assert says_beside(RED).message is None  # red was said before the silence began: it stands


def other(level: Level, *, official: bool = False, hours: float = 1) -> Other:
    return Other(warning_id=B, level=level, official=official, first_sent=T0 - timedelta(hours=hours))


@pytest.mark.parametrize(
    ("level", "stands", "told"),
    [
        (YELLOW, other(RED), False),
        (NONE, other(YELLOW), False),  # no all-clear while another stands
        (RED, other(YELLOW), True),
        (YELLOW, other(YELLOW), False),  # the older goes on
        (YELLOW, other(YELLOW, hours=-1), True),
        (YELLOW, other(YELLOW, official=True, hours=-1), False),  # an authority first
    ],
)
def test_who_hears_what(level: Level, stands: Other, told: bool) -> None:
    person = UUID(int=9)
    heard = hears([person], {person: [stands]}, level=level, official=False, first_sent=T0, warning_id=A)
    assert (person in heard.told) == told
    assert (heard.wakes == {B}) == (not told)


def test_a_warning_is_said_again_by_its_level_until_it_is_answered() -> None:
    every = {RED: timedelta(minutes=30)}
    given = {"level": RED, "told_at": T0, "answered": False, "over": False, "every": every}
    assert not says_again(**given, at=T0 + timedelta(minutes=29))  # type: ignore[arg-type]
    assert says_again(**given, at=T0 + timedelta(minutes=30))  # type: ignore[arg-type]
    for change in ({"answered": True}, {"over": True}, {"level": YELLOW}):
        assert not says_again(**(given | change), at=T0 + timedelta(days=1))  # type: ignore[arg-type]


def test_silences_that_cannot_be_are_refused() -> None:
    good = {
        "silence_id": A, "tenant_id": A, "rule_code": "x", "peril": None, "up_to": YELLOW, "starts_at": T0,
        "ends_at": T0 + timedelta(hours=1), "author": A, "reason": "works",
    }  # fmt: skip
    check_silence(Silence(**good))  # type: ignore[arg-type]
    for change, named in (
        ({"peril": "flood"}, "one of them"), ({"rule_code": None}, "one of them"), ({"up_to": NONE}, "up_to"),
        ({"reason": " "}, "reason"), ({"ends_at": T0}, "ends_at"), ({"ends_at": T0 + timedelta(days=8)}, "7 days"),
    ):  # fmt: skip
        with pytest.raises(BadSilence, match=named):
            check_silence(Silence(**(good | change)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "level", "up_to", "second", "held"),
    [
        (Message.FIRST, YELLOW, YELLOW, None, True),
        (Message.FIRST, ORANGE, YELLOW, None, False),
        (Message.RENEW, ORANGE, RED, None, True),
        (Message.RAISE, RED, RED, None, False),  # one person does not silence red
        (Message.RAISE, RED, RED, A, False),  # nor the same one twice
        (Message.RAISE, RED, RED, B, True),
        (Message.ALL_CLEAR, NONE, RED, B, False),  # an end is always said
        (Message.CANCEL, NONE, RED, B, False),
    ],
)
def test_what_a_silence_holds_back(
    message: Message, level: Level, up_to: Level, second: UUID | None, held: bool
) -> None:
    stands = Silence(
        silence_id=A, tenant_id=A, rule_code="x", peril=None, up_to=up_to, starts_at=T0, ends_at=T0 + timedelta(hours=1),
        author=A, reason="works", second=second,
    )  # fmt: skip
    said = Said(message=message, level=level, lead=A)
    after = under_silence(said, T0, code="x", peril="flood", silences=[stands])
    assert (after.message is None, after.reason) == ((True, Reason.SILENCED) if held else (False, None))
    if held:
        assert after.wake_at == T0 + timedelta(hours=1)
        assert after.detail["why"] == "works"
    assert under_silence(said, T0 + timedelta(hours=1), code="x", peril="flood", silences=[stands]) == said
    assert under_silence(said, T0, code="y", peril="flood", silences=[stands]) == said


RULE = {"kind": "footprint", "exposure": {"yellow": {"policies": 10}, "red": {"policies": 99, "insured_value": "1e6"}}}


def made(**more: object) -> EventRule:
    return event_rule(rule_id=A, version=1, tenant_id=A, code="homes", definition={**RULE, **more})


@pytest.mark.parametrize(
    ("policies", "value", "unknown", "unknown_value", "told"),
    [
        (9, "0", 0, "0", NONE),
        (9, "0", 1, "0", YELLOW),  # what could not be placed may be inside
        (10, "999999.99", 0, "0.01", RED),
        (0, "0", 99, "0", RED),
    ],
)
def test_the_level_of_an_exposure(policies: int, value: str, unknown: int, unknown_value: str, told: Level) -> None:
    met = Exposure(
        n_policies=policies, insured_value=Decimal(value), n_unknown=unknown, unknown_value=Decimal(unknown_value)
    )
    assert exposure_level(made(), met) is told


def test_a_rule_without_a_gauge_comes_back_and_says_what_is_wrong() -> None:
    for one in (made(), made(automatic=True, automatic_ceiling="red", portfolio="Homes")):
        again = event_rule(rule_id=A, version=1, tenant_id=A, code="homes", definition=event_definition(one))
        assert again == one
    assert made().bars == {YELLOW: Bar(policies=10), RED: Bar(policies=99, insured_value=Decimal("1e6"))}
    for more, named in (
        ({"kind": "moon"}, "unknown fields|kind"), ({"exposure": {}}, "exposure"), ({"senders": ["x"]}, "senders"),
        ({"exposure": {"red": {"policies": 0}}}, "policies"), ({"exposure": {"red": {}}}, "red"),
        ({"exposure": {"yellow": {"policies": 9}, "red": {"policies": 9}}}, "rise"),
        ({"exposure": {"red": {"insured_value": "nan"}}}, "insured_value"),
        ({"exposure": {"red": {"insured_value": "much"}}}, "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(BadRule, match=named):
            made(**more)
    with pytest.raises(BadRule, match="senders"):
        event_rule(rule_id=A, version=1, tenant_id=A, code="b", definition={"kind": "bulletin", "senders": []})


def test_a_table_of_levels_comes_back_and_says_what_is_wrong() -> None:
    assert read_scheme(None) == LevelScheme()
    told = {"severity": {"orange": "Extreme"}, "stages": {"watch": "blue"}, "names": {"red": {"en": "Major"}}}
    scheme = read_scheme(told, 3)
    assert read_scheme(scheme_json(scheme), 3) == scheme
    assert scheme.level_of_severity("Extreme") is ORANGE  # the lowest that says so
    assert scheme.level_of_severity("Severe") is None
    assert scheme.level_of_severity("Unknown") is None
    for wrong, named in (
        ({"colour": {}}, "unknown field"), ({"severity": {"blue": "Severe"}}, "fall"), ({"severity": []}, "object"),
        ({"severity": {"red": "Awful"}}, "red"), ({"stages": {"x": "none"}}, "none"), ({"names": {"red": {"en": ""}}}, "red"),
        ({"stages": {"x": "mauve"}}, "level"),
    ):  # fmt: skip
        with pytest.raises(BadScheme, match=named):
            read_scheme(wrong)
