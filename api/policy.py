"""Who may do what: one table of role x action x object. What is not in it is refused.

Every route names its action and object through `api.deps.needs`; `check_routes` refuses to start an application that
has a route without one. Separated duties stand in the table: an administrator cannot approve, and the two people that
release a warning are told apart in alerts/release.py.
"""

from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute

from core.errors import NotPermitted, TocsinError

#: Nobody has to be known.
ANYONE: Final = "anyone"
#: A person who came by the signed link of a message.
POLICYHOLDER: Final = "policyholder"
#: A machine with an API key that only sends readings.
DEVICE: Final = "device"

#: Roles of people who sign in.
SIGNED_IN: Final = frozenset({"insurer", "approver", "underwriter", "partner", "admin", "operator"})
#: Roles an API key may carry. No key approves, rejects or resumes: those are for people.
KEY_ROLES: Final = frozenset({DEVICE, "insurer", "underwriter", "partner", "operator"})

#: What only a person who signed in may do, whatever roles a key has.
PERSONS_ONLY: Final = frozenset(
    {
        ("close", "session"),
        ("approve", "warning"),
        ("reject", "warning"),
        ("pause", "sending"),
        ("resume", "sending"),
        ("handle", "answer"),
        ("cancel", "warning"),
        ("handle", "case"),
        ("see", "notice"),
        ("make", "road-override"),
        ("make", "official-order"),
        ("write", "rule"),
        ("agree", "rule"),
        ("make", "silence"),
    }
)

_WATCHES = frozenset({"insurer", "approver", "operator", "admin"})
_BOOK = _WATCHES | {"underwriter"}

POLICY: Final[dict[tuple[str, str], frozenset[str]]] = {
    # open to all
    ("read", "page"): frozenset({ANYONE}),
    ("read", "ui-config"): frozenset({ANYONE}),
    ("read", "health"): frozenset({ANYONE}),
    ("read", "openapi"): frozenset({ANYONE}),
    ("open", "session"): frozenset({ANYONE}),
    ("report", "delivery"): frozenset({ANYONE}),  # a provider's signature is asked for: api/routes/providers.py
    # oneself
    ("close", "session"): SIGNED_IN,
    ("read", "me"): SIGNED_IN | {DEVICE},
    ("follow", "stream"): SIGNED_IN,
    # the situation
    ("read", "station"): SIGNED_IN,
    ("read", "footprint"): SIGNED_IN,
    ("read", "safe-zone"): SIGNED_IN,
    ("read", "feed"): _WATCHES,
    ("read", "overview"): _BOOK,
    ("read", "assessment"): _BOOK,
    ("read", "location"): _BOOK,
    ("read", "evacuation-plan"): _WATCHES,
    ("read", "road"): SIGNED_IN,
    ("read", "road-override"): _WATCHES,
    ("make", "road-override"): frozenset({"operator", "approver"}),
    ("read", "official-order"): _WATCHES,
    ("make", "official-order"): frozenset({"operator", "approver"}),
    ("write", "observation"): frozenset({DEVICE, "operator"}),
    # warnings
    ("read", "warning"): _WATCHES,
    ("read", "cap"): _WATCHES | {"partner"},  # what was released, and nothing about people or drafts
    ("approve", "warning"): frozenset({"approver"}),
    ("reject", "warning"): frozenset({"approver"}),
    ("pause", "sending"): frozenset({"approver", "operator"}),
    ("resume", "sending"): frozenset({"approver", "operator"}),
    # when to speak: a rule that releases by itself takes a second person, so does a silence of red
    ("read", "rule"): _WATCHES,
    ("write", "rule"): frozenset({"approver", "operator"}),
    ("agree", "rule"): frozenset({"approver"}),
    ("read", "silence"): _WATCHES,
    ("make", "silence"): frozenset({"approver", "operator"}),
    ("read", "answer"): _WATCHES,
    ("handle", "answer"): frozenset({"insurer", "approver", "operator"}),
    ("cancel", "warning"): frozenset({"approver"}),
    ("read", "case"): _WATCHES,
    ("handle", "case"): frozenset({"insurer", "approver", "operator"}),
    ("read", "notice"): _WATCHES,
    ("see", "notice"): frozenset({"approver", "operator"}),
    # quotes
    ("read", "quote"): frozenset({"underwriter", "approver", "admin"}),
    ("issue", "quote"): frozenset({"underwriter"}),
    ("refer", "quote"): frozenset({"underwriter"}),
    ("approve", "quote"): frozenset({"approver", "admin"}),
    ("decline", "quote"): frozenset({"underwriter", "approver"}),
    ("bind", "quote"): frozenset({"underwriter"}),
    ("close", "work-order"): frozenset({"underwriter", "operator"}),
    # a policyholder's own
    ("read", "own-situation"): frozenset({POLICYHOLDER}),
    ("give", "own-answer"): frozenset({POLICYHOLDER}),
    ("give", "own-receipt"): frozenset({POLICYHOLDER}),
    ("give", "own-step"): frozenset({POLICYHOLDER}),
    ("give", "own-push-subscription"): frozenset({POLICYHOLDER}),
}

#: What a browser's stream may tell: kind of event -> the object one must be allowed to read.
STREAM_OBJECTS: Final[dict[str, str]] = {
    "observations_stored": "station",
    "station_state_changed": "station",
    "feed_state_changed": "station",
    "footprint_published": "footprint",
    "hazard_ended": "footprint",
    "assessment_made": "assessment",
    "loss_estimated": "assessment",
    "plan_made": "evacuation-plan",
    "warning_changed": "warning",
    "answer_given": "answer",
    "quote_issued": "quote",
    "operator_noticed": "warning",
}


class NoPolicy(TocsinError):
    """A route has no policy, so the API does not start."""


class RoleLacks(NotPermitted):
    """Your role does not allow this."""


def may(roles: Iterable[str], action: str, obj: str) -> bool:
    """Whether one of these roles may do this; False for what is not in the table."""
    allowed = POLICY.get((action, obj), frozenset())
    return ANYONE in allowed or not allowed.isdisjoint(roles)


def allowed(roles: Iterable[str]) -> list[str]:
    """`action object` of all that these roles may do beyond what is open to all, sorted."""
    held = frozenset(roles)
    return sorted(f"{action} {obj}" for (action, obj), who in POLICY.items() if not who.isdisjoint(held))


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Raises NoPolicy, naming the routes, unless each of them carries a pair that stands in the table."""
    bare = []
    for route in routes:
        pair = getattr(getattr(route, "endpoint", None), "policy_pair", None) or declared(route)
        if pair is None or pair not in POLICY:
            bare.append(f"{getattr(route, 'path', route)}: {pair}")
    if bare:
        raise NoPolicy(routes=bare)


def declared(route: BaseRoute) -> tuple[str, str] | None:
    """The (action, object) pair of the `needs` dependency of a route; None where it has none, or two."""
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return None
    pairs = {
        pair
        for dependency in dependant.dependencies
        if (pair := getattr(dependency.call, "policy_pair", None)) is not None
    }
    return pairs.pop() if len(pairs) == 1 else None
