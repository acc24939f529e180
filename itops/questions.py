"""The questionnaire: what is asked of a risk, as deep as its score wants, and what the answers do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from itops import rules
from itops.book import Book

DEPTHS = ("simple", "full", "survey")


class BadAnswer(InvalidInput):
    """An answer of the questionnaire cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question and what its answer does."""

    id: str
    depth: str
    answer: str | None  #: None: not answered
    factor: float
    best: float  #: the least factor an answer gives
    en: str
    zh: str
    remedy_en: str
    remedy_zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A risk beyond what the tariff prices."""

    relativity: float
    score: float
    tier: str
    depth: str  #: how deep the questionnaire goes at this score
    asked: tuple[Asked, ...]


def segment_of(named: str | None, classes: Mapping[str, float]) -> str:
    """The segment that was named; else end-user where most devices are, else a data centre."""
    if named is not None:
        return named
    portable = sum(years for name, years in classes.items() if name in ("laptop", "desktop"))
    return "end_user" if portable * 2 > sum(classes.values()) else "data_centre"


def assess(covers: Sequence[str], segment: str, answers: Mapping[str, str], extra: float, book: Book) -> Assessment:
    """Residual relativity, score and tier; `extra` is what else is not in the tariff (1: nothing).

    The simple questions come first; their score says whether the full ones and a survey are asked too. A question
    that is asked and not answered takes its factor for unknown; one that is not asked yet counts only if answered.
    Raises BadAnswer.
    """
    known = {question["id"]: question for question in book.questionnaire["questions"]}
    for name, answer in answers.items():
        if name not in known:
            raise BadAnswer(f"questionnaire.{name}: is not a question; there are {', '.join(sorted(known))}")
        if answer not in known[name]["answers"]:
            choices = ", ".join(known[name]["answers"])
            raise BadAnswer(f"questionnaire.{name}: {answer!r} is not an answer; answers are {choices}")
    mine = [
        question
        for question in book.questionnaire["questions"]
        if segment in question["segments"] and any(name in question["covers"] for name in covers)
    ]
    table = book.questionnaire["depth"]
    depth = "simple"
    while True:
        asked = tuple(_asked(q, answers.get(q["id"])) for q in mine if _within(q["depth"], depth) or q["id"] in answers)
        relativity = extra * math.prod(item.factor for item in asked)
        value = rules.score(relativity, book.rules)
        if value >= float(table["simple_from"]):
            wanted = "simple"
        else:
            wanted = "full" if value >= float(table["full_from"]) else "survey"
        if DEPTHS.index(wanted) <= DEPTHS.index(depth):
            break
        depth = wanted
    return Assessment(relativity=relativity, score=value, tier=rules.tier(value, book.rules), depth=depth, asked=asked)


def _within(depth: str, most: str) -> bool:
    return DEPTHS.index(depth) <= DEPTHS.index(most)


def _asked(question: Mapping[str, Any], answer: str | None) -> Asked:
    factor = float(question["unknown"]) if answer is None else float(question["answers"][answer])
    return Asked(
        id=question["id"],
        depth=question["depth"],
        answer=answer,
        factor=factor,
        best=min(float(value) for value in question["answers"].values()),
        en=question["en"],
        zh=question["zh"],
        remedy_en=question["remedy_en"],
        remedy_zh=question["remedy_zh"],
    )


def related(covers: Sequence[str], book: Book) -> tuple[str, ...]:
    """Covers that belong beside those asked for and were not asked for."""
    out: list[str] = []
    for name in covers:
        out += [other for other in book.questionnaire["related"].get(name, ()) if other not in covers]
    return tuple(dict.fromkeys(out))
