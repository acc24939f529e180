"""The rules' part of the stand-in: rules and silences in memory, judged by the real rule book and the real law."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from alerts.level import level
from alerts.rule_desk import rule_sha256
from alerts.rulebook import BadRuleFile, Site, Sites, read_json
from alerts.silence import BadSilence, Silence, check_silence
from api.schemas import rule as ru
from core.errors import InvalidInput
from tests.e2e.world import World, at, key, valley

MAY = ["read rule", "write rule", "agree rule", "read silence", "make silence"]
TENANT = key("tenant")
SITES = Sites(
    [Site(code="AR-03", name="Millbridge", lon=7.1, lat=50.5, datastream_id=1, quantity="level", interval_s=600)]
)
AREA = {"type": "Polygon", "coordinates": [valley(0.02, 0.4, 0.6)]}
MILLBRIDGE = {
    "code": "millbridge", "station": "AR-03", "quantity": "level", "thresholds": {"yellow": 3.0, "orange": 4.0, "red": 5.0},
    "hysteresis": 0.2, "k": 2, "n": 3, "clear_dwell_s": 3600.0, "automatic": True, "automatic_ceiling": "yellow",
    "area": AREA, "area_desc": {"en": "Millbridge, low ground", "zh": "磨坊桥低洼处"},
}  # fmt: skip
HOMES = {
    "code": "homes",
    "kind": "footprint",
    "exposure": {"yellow": {"policies": 20}, "red": {"insured_value": "5000000"}},
}
STORY = {"n_warnings": 2, "by_level": {"yellow": 2, "orange": 1}, "reasons": {"level_reached": 2, "escalated": 1},
         "first_at": at(60).isoformat(), "hours_warned": 17.5, "n_false": 1}  # fmt: skip


def _problem(error: InvalidInput) -> JSONResponse:
    told = [{"field": field, "reason": why} for field, why in getattr(error, "problems", [])]
    body = {"title": "Invalid input", "detail": str(error), "status": 422, "request_id": "req-7", "errors": told}
    return JSONResponse(body, status_code=422, media_type="application/problem+json")


def _version(told: Mapping[str, Any], version: int, starts: datetime, **more: Any) -> dict[str, Any]:
    kind = told.get("kind", "level")
    return {
        "rule_id": key(f"rule {told['code']}"), "code": told["code"], "version": version, "kind": kind,
        "station": told.get("station"), "definition": {}, "has_area": "area" in told or "radius_km" in told,
        "area_desc": told.get("area_desc", {}), "effective_from": starts, "effective_to": None,
        "phase": "active" if kind == "level" else None, "level": "orange" if kind == "level" else None, "told": dict(told),
        "dry_run": None, "proposed_by_login": None, "agreed_by_login": None,
    } | more  # fmt: skip


class Book:
    """What the stand-in keeps of rules and silences."""

    def __init__(self) -> None:
        self.rules = [
            _version(MILLBRIDGE | {"thresholds": {"yellow": 3.2, "red": 5.5}}, 1, at(-9000), effective_to=at(-3000)),
            _version(MILLBRIDGE, 2, at(-3000), proposed_by_login="amal", agreed_by_login="bo"),
            _version(HOMES, 1, at(-3000)),
        ]
        self.proposals: list[dict[str, Any]] = []
        self.silences: list[Silence] = []

    def keep(self, told: dict[str, Any], now: datetime, **more: Any) -> dict[str, Any]:
        """Keeps a version from now on."""
        before = [one for one in self.rules if one["code"] == told["code"]]
        for one in before:
            one["effective_to"] = one["effective_to"] or now
        made = _version(told, len(before) + 1, now, **more)
        self.rules.append(made)
        return made


def add_rule_routes(app: FastAPI, world: World) -> None:
    """Adds /v1/rules, its proposals, and /v1/silences."""
    book: Book = world.book

    def tried(told: Mapping[str, Any], days: float) -> dict[str, Any]:
        gauge = told.get("kind", "level") == "level"
        story = STORY if gauge else STORY | {"n_false": None}  # whether it came true no gauge can say
        return {
            "rehearsed": True, "days": days, "until": world.now().isoformat(), "n_readings": 1008 if gauge else 3,
            "n_people": 412 if gauge else None, "new": story, "standing": story | {"n_warnings": 1},
        }  # fmt: skip

    def check(body: ru.RuleIn) -> None:
        read_json(
            '{"rules": [' + body.model_dump_json(include={"rule"})[8:-1] + "]}",
            tenant_id=TENANT,
            sites=SITES,
            name="rule",
        )

    @app.get("/v1/rules")
    async def rules(everything: bool = False) -> list[ru.RuleOut]:
        wanted = [one for one in book.rules if everything or one["effective_to"] is None]
        return [ru.RuleOut(**{name: one[name] for name in ru.RuleOut.model_fields}) for one in wanted]

    @app.get("/v1/rules/proposals")
    async def proposals() -> list[ru.ProposalOut]:
        return [ru.ProposalOut(**one) for one in book.proposals if one["state"] == "proposed"]

    @app.get("/v1/rules/{rule_id}/versions")
    async def versions(rule_id: UUID) -> list[ru.RuleVersion]:
        mine = [ru.RuleVersion(**one) for one in book.rules if one["rule_id"] == rule_id]
        return sorted(mine, key=lambda one: -one.version)

    @app.post("/v1/rules/try")
    async def try_rule(body: ru.RuleIn) -> Any:
        try:
            check(body)
        except BadRuleFile as error:
            return _problem(error)
        return ru.RuleTried(**tried(body.rule, body.days))

    @app.post("/v1/rules")
    async def keep_rule(body: ru.RuleIn) -> Any:
        try:
            check(body)
        except BadRuleFile as error:
            return _problem(error)
        told, now, digest = body.rule, world.now(), rule_sha256(body.rule).hex()
        answer = {"code": told["code"], "effective_from": now, "proposal_id": None, "content_sha256": None,
                  "dry_run": tried(told, body.days)}  # fmt: skip
        if not told.get("automatic"):
            return ru.RuleKept(**answer, state="in_force", version=book.keep(told, now)["version"])
        made = {
            "proposal_id": uuid4(), "code": told["code"], "told": told, "content_sha256": digest, "state": "proposed",
            "effective_from": None, "dry_run": answer["dry_run"], "proposed_by": key("me"), "proposed_by_login": "approver",
            "proposed_at": now, "decided_by": None, "decided_at": None, "why": "", "version": None,
        }  # fmt: skip
        book.proposals.append(made)
        return ru.RuleKept(
            **answer | {"proposal_id": made["proposal_id"], "content_sha256": digest}, state="proposed", version=None
        )

    @app.post("/v1/rules/proposals/{proposal_id}/agree")
    async def agree(proposal_id: UUID, body: ru.ProposalAgreed) -> Any:
        (one,) = [one for one in book.proposals if one["proposal_id"] == proposal_id]
        if one["proposed_by"] == key("me"):
            return JSONResponse(
                {"detail": "Nobody agrees to the rule that they proposed.", "status": 403}, status_code=403
            )
        assert body.content_sha256 == one["content_sha256"]
        one["state"] = "approved"
        made = book.keep(
            one["told"], world.now(), proposed_by_login=one["proposed_by_login"], agreed_by_login="approver"
        )
        return ru.RuleKept(code=one["code"], state="in_force", version=made["version"], effective_from=world.now(),
                           proposal_id=proposal_id, content_sha256=None, dry_run=None)  # fmt: skip

    @app.post("/v1/rules/proposals/{proposal_id}/reject")
    async def reject(proposal_id: UUID, body: ru.Why) -> Any:
        (one,) = [one for one in book.proposals if one["proposal_id"] == proposal_id]
        one |= {"state": "rejected", "why": body.reason}
        return ru.RuleKept(code=one["code"], state="rejected", version=None, effective_from=None, proposal_id=proposal_id,
                           content_sha256=None, dry_run=None)  # fmt: skip

    @app.post("/v1/rules/{rule_id}/retire")
    async def retire(rule_id: UUID, body: ru.Why) -> Any:
        mine = [one for one in book.rules if one["rule_id"] == rule_id]
        mine[-1]["effective_to"] = world.now()
        return ru.RuleRetired(code=mine[-1]["code"], version=mine[-1]["version"])

    def shown(one: Silence) -> ru.SilenceOut:
        told = {name: value for name, value in asdict(one).items() if name in ru.SilenceOut.model_fields}
        logins = {key("me"): "approver", key("amal"): "amal"}
        return ru.SilenceOut(**told | {"up_to": one.up_to.word}, ceiling=one.ceiling.word,  # type: ignore[arg-type]
                             author_login=logins[one.author], second_login=logins.get(one.second) if one.second else None)  # fmt: skip

    @app.get("/v1/silences")
    async def silences() -> list[ru.SilenceOut]:
        return [shown(one) for one in book.silences if one.until > world.now()]

    @app.post("/v1/silences")
    async def silence(body: ru.SilenceIn) -> Any:
        now = world.now()
        one = Silence(
            silence_id=uuid4(), tenant_id=TENANT, rule_code=body.rule_code, peril=body.peril, up_to=level(body.up_to),
            starts_at=now, ends_at=body.ends_at, author=key("me"), reason=body.reason,
        )  # fmt: skip
        try:
            check_silence(one)
        except BadSilence as error:
            return _problem(error)
        book.silences.append(one)
        return shown(one)

    @app.post("/v1/silences/{silence_id}/{how}")
    async def settle(silence_id: UUID, how: str) -> Any:
        (k,) = [k for k, one in enumerate(book.silences) if one.silence_id == silence_id]
        one = book.silences[k]
        change = {"second": key("me")} if how == "agree" else {"ended_at": world.now() - timedelta(seconds=1)}
        book.silences[k] = Silence(**{name: getattr(one, name) for name in Silence.__dataclass_fields__} | change)
        return shown(book.silences[k])
