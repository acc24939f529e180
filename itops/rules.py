"""Score, tier and referral rules: data with a version, which say why they fired and can be run on past quotes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from core.errors import InvalidInput

#: The tiers of a score.
TIERS = ("decline", "load", "standard")
_OPS: Final = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
}


class BadRules(InvalidInput):
    """A set of rules cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What one rule found."""

    rule: str
    state: str  #: "fired", "passed", or "unknown": its fact is not known, which is not the same as passed
    action: str  #: "refer", "load", "decline"
    fact: str
    value: float | None
    op: str
    threshold: float
    en: str
    zh: str


def check_rules(raw: Mapping[str, Any]) -> None:
    """Raises BadRules naming the entry."""
    if not raw.get("version"):
        raise BadRules("rules: version: is missing; a quote must be able to say which rules it was judged by")
    seen = set()
    for index, rule in enumerate(raw.get("rules", [])):
        at = f"rules.{index}"
        for name in ("id", "effective_from", "fact", "op", "value", "action", "en", "zh"):
            if name not in rule:
                raise BadRules(f"{at}.{name}: is missing")
        if rule["op"] not in _OPS:
            raise BadRules(f"{at}.op: {rule['op']!r} is not one of {', '.join(_OPS)}")
        if rule["action"] not in ("refer", "load", "decline"):
            raise BadRules(f"{at}.action: {rule['action']!r} is not refer, load or decline")
        if rule["id"] in seen:
            raise BadRules(f"{at}.id: {rule['id']!r} comes twice")
        seen.add(rule["id"])
        try:
            date.fromisoformat(rule["effective_from"])
            float(rule["value"])
        except (TypeError, ValueError) as error:
            raise BadRules(f"{at}: {error}") from error


def evaluate(rules: Mapping[str, Any], facts: Mapping[str, float | None], on: date) -> tuple[Fired, ...]:
    """Every rule in effect on a day, applied to the facts of a quote."""
    out = []
    for rule in rules["rules"]:
        if date.fromisoformat(rule["effective_from"]) > on:
            continue
        if rule.get("effective_to") and date.fromisoformat(rule["effective_to"]) <= on:
            continue
        value = facts.get(rule["fact"])
        threshold = float(rule["value"])
        state = "unknown" if value is None else "fired" if _OPS[rule["op"]](value, threshold) else "passed"
        out.append(
            Fired(
                rule=rule["id"], state=state, action=rule["action"], fact=rule["fact"], value=value, op=rule["op"],
                threshold=threshold, en=rule["en"], zh=rule["zh"],
            )
        )  # fmt: skip
    return tuple(out)


def score(relativity: float, rules: Mapping[str, Any]) -> float:
    """80 - 40 log2(residual relativity), within 0 to 100."""
    if not 0 < relativity < math.inf:
        raise BadRules(f"residual relativity must be positive and finite, not {relativity}")
    table = rules["score"]
    raw = float(table["at_par"]) - float(table["per_doubling"]) * math.log2(relativity)
    return min(max(raw, 0.0), 100.0)


def tier(value: float, rules: Mapping[str, Any]) -> str:
    """decline below 40, load from 40.0, standard from 60.0: a boundary belongs to the better tier."""
    table = rules["score"]
    if value >= float(table["standard_from"]):
        return "standard"
    return "load" if value >= float(table["load_from"]) else "decline"


def tier_factor(value: float, relativity: float, rules: Mapping[str, Any]) -> Decimal:
    """What the tier does to the premium: load by the relativity below 60, discount above 85 up to 15 %."""
    table = rules["score"]
    if value < float(table["standard_from"]):
        factor = relativity
    elif value > float(table["discount_above"]):
        factor = max(relativity, 1.0 - float(table["most_discount"]))
    else:
        factor = 1.0
    return Decimal(repr(round(factor, 6)))


def decision(fired: Sequence[Fired]) -> str:
    """The strictest of what fired: decline, refer (also to load), or quote."""
    actions = {item.action for item in fired if item.state == "fired"}
    if "decline" in actions:
        return "decline"
    return "refer" if actions else "quote"
