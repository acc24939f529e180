"""From a decision to a version of a warning: who hears it, in which words, and whether it waits for people.

Used by every kind of rule. What is not said (a group that says it already, a silence, somebody who hears worse) is
recorded with its reason beside the decision it came from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from alerts import event_repository, notices, repository, rule_repository
from alerts.alert import UNREACHABLE, Alert, Recipient, content_sha256, reference
from alerts.audience import MASS_PEOPLE, Release, hold_reason, inside, priorities, release
from alerts.level import CAP_SEVERITY, LEVELS, Level
from alerts.lifecycle import Decision, LifecycleState, Message, Phase, Reason
from alerts.message import FOOTPRINT, GAUGE, OFFICIAL, Facts, language_with_texts, missing_languages, render_all
from alerts.quorum import independent_count
from alerts.repository import StoredWarning
from alerts.rule import LevelRule
from alerts.rule_repository import Subject
from alerts.silence import Silence
from alerts.voice import ENDINGS, Heard, Other, Said, hears, under_silence
from core.events import WarningChanged, WarningReleased
from core.log import get_logger
from store import outbox
from store.pool import AsyncConnection

log = get_logger("watch")


@dataclass(slots=True)
class Speaker:
    """One transaction's worth of speaking."""

    conn: AsyncConnection
    auto_release_people: int
    exercise: bool | None = None
    woken: set[UUID] = field(default_factory=set)  #: warnings whose rules are to look again at once
    _silences: dict[UUID, list[Silence]] = field(default_factory=dict)

    # ------------------------------------------------------------ what is kept of it

    async def record(self, own: Subject, decision: Decision, warning_id: UUID | None, version: int | None) -> None:
        """Keeps a decision with its reason."""
        await rule_repository.save_decision(
            self.conn,
            tenant_id=own.rule.tenant_id,
            rule_id=own.rule.rule_id,
            decision=decision,
            warning_id=warning_id,
            version=version,
        )
        if decision.reason is Reason.EXPIRED_UNRENEWED and warning_id is not None:
            # what it kept out is not said by it any more
            self.woken |= await event_repository.kept_out_by(self.conn, warning_id)
        if decision.operator:
            log.warning("operator", rule=own.rule.code, reason=decision.reason.value, at=decision.at.isoformat())

    async def tell_changed(self, tenant_id: UUID, warning_id: UUID | None, version: int | None = None) -> None:
        """The desks look at this warning again."""
        if warning_id is None:
            return
        if version is None:
            versions = await repository.lock_warning(self.conn, warning_id)
            if not versions:
                return
            version = versions[-1].alert.version
        await outbox.publish(
            self.conn,
            WarningChanged(warning_id=warning_id, version=version),
            ordering_key=f"warning:{warning_id}",
            tenant_id=tenant_id,
        )

    async def held_back(self, one: Subject, level: Level, at: datetime) -> bool:
        """Whether a silence covers what a rule says at this level."""
        told = Said(message=Message.RENEW, level=level, lead=one.rule.rule_id)
        return (await self.silenced(told, at, one)).message is None

    async def silenced(self, said: Said, at: datetime, lead: Subject) -> Said:
        """The same, or nothing where a silence covers it."""
        tenant_id = lead.rule.tenant_id
        if tenant_id not in self._silences:
            self._silences[tenant_id] = await event_repository.live_silences(self.conn, tenant_id, at)
        return under_silence(said, at, code=lead.rule.code, peril=lead.rule.peril, silences=self._silences[tenant_id])

    # ------------------------------------------------------------ saying it

    async def speak(
        self,
        own: Subject,
        decision: Decision,
        warning_id: UUID,
        *,
        said: Said,
        own_state: LifecycleState,
        lead: Subject,
        state: LifecycleState,
    ) -> tuple[datetime | None, datetime | None]:
        """Drafts what is said of a decision, and releases it where it may be.

        `lead` and `state` are the rule whose words are used, and where it stands. Gives until when something is out,
        and when to look again where nothing was said.
        """
        tenant_id = own.rule.tenant_id
        said = await self.silenced(said, decision.at, lead)
        chain = await repository.lock_warning(self.conn, warning_id)
        out = [one for one in chain if one.released_at is not None]
        live_until = out[-1].alert.expires_at if out else None
        if said.message is None:
            assert said.reason is not None
            told = await self._meanwhile(own, decision, warning_id, said, own_state, lead, state, out)
            if told is not None:
                return told, said.wake_at
            await self.record(own, decision, warning_id, None)
            held = replace(decision, reason=said.reason, message=None, detail={**decision.detail, **said.detail})
            await self.record(own, held, warning_id, None)
            await self.tell_changed(tenant_id, warning_id)
            soonest = decision.at + timedelta(minutes=1)
            return live_until, max(said.wake_at, soonest) if said.wake_at is not None else None
        if said.message is Message.ALL_CLEAR and not out:
            # Nobody was told, so there is nothing to take back: the drafts lapse.
            await self.record(own, decision, warning_id, None)
            if await repository.close_drafts(self.conn, warning_id, "ended"):
                lapsed = replace(decision, reason=Reason.DRAFT_LAPSED, message=None)
                await self.record(own, lapsed, warning_id, None)
            await self.tell_changed(tenant_id, warning_id)
            return None, None
        say = replace(decision, message=said.message, after=said.level)
        if lead is not own:
            say = replace(say, value=state.value, reading_at=state.newest_at)
        last = out[-1] if out else None
        if said.message is Message.RENEW and last is not None and Level.NONE < last.alert.level < said.level:
            # What is out must not lapse while a higher level waits for people: it is renewed by itself, if it may be.
            lower = replace(say, after=last.alert.level)
            renewed = await self._draft(own, lead, lower, warning_id, state, only_if_automatic=True)
            live_until = renewed or live_until
        released_until = await self._draft(own, lead, say, warning_id, state)
        return released_until or live_until, None

    async def _meanwhile(
        self,
        own: Subject,
        decision: Decision,
        warning_id: UUID,
        said: Said,
        own_state: LifecycleState,
        lead: Subject,
        state: LifecycleState,
        out: Sequence[StoredWarning],
    ) -> datetime | None:
        """What a group says waits for people, and this rule may tell its own level by itself: then it does.

        Gives until when that stands; None where it may not, or as much is out already.
        """
        level_out = out[-1].alert.level if out and out[-1].alert.msg_type != "Cancel" else Level.NONE
        first = decision.message in (Message.FIRST, Message.RAISE)
        if said.reason is Reason.SILENCED or not first or level_out >= decision.after:
            return None
        until = await self._draft(own, own, decision, warning_id, own_state, only_if_automatic=True)
        if until is not None and said.level > decision.after:
            again = replace(
                decision, message=Message.RAISE, after=said.level, value=state.value, reading_at=state.newest_at
            )
            until = await self._draft(own, lead, again, warning_id, state) or until
        return until

    async def _draft(
        self,
        own: Subject,
        lead: Subject,
        decision: Decision,
        warning_id: UUID,
        state: LifecycleState,
        *,
        only_if_automatic: bool = False,
    ) -> datetime | None:
        """Keeps a new version; its expiry where it was released at once, else None."""
        rule, conn = lead.rule, self.conn
        chain = await repository.lock_warning(conn, warning_id)
        if self.exercise is None:
            self.exercise = await repository.is_exercise(conn)
        out = [one for one in chain if one.released_at is not None]
        held = lead.area_fault or hold_reason(lead.area, rule.max_area_km2)
        area = lead.area if held is None else None
        everybody = await self._audience(lead, decision, area, warning_id if out else None)
        others = await self._others(lead, decision, warning_id, everybody)
        heard = hears(
            {one.policyholder_id for one in everybody},
            others,
            level=decision.after,
            official=lead.authority is not None,
            first_sent=out[0].alert.sent_at if out else decision.at,
            warning_id=warning_id,
        )
        people = [one for one in everybody if one.policyholder_id in heard.told]
        if heard.kept_out:
            if not only_if_automatic:
                # also where a silence held the lowering itself back, and it is told by a renewal
                eases = bool(out) and decision.after < out[-1].alert.level
                await self._kept_out(own, decision, warning_id, heard, eases=eases)
            if not people and decision.message not in ENDINGS:
                await self.tell_changed(rule.tenant_id, warning_id)
                return None
        usual: float | None = rule.usual_people
        if usual is None:
            usual = await repository.usual_people(conn, rule.rule_id, warning_id)
        n_people = len({one.policyholder_id for one in people})
        n_mass = 0
        if n_people >= MASS_PEOPLE:
            hour = decision.at - timedelta(hours=1)
            n_mass = await repository.mass_lately(conn, rule.tenant_id, hour, warning_id, MASS_PEOPLE)
        verdict = release(
            rule,
            level=decision.after,
            n_people=n_people,
            held=held,
            usual=usual,
            auto_release_people=self.auto_release_people,
            n_mass_lately=n_mass,
        )
        if not verdict.approvals_needed and decision.message in (Message.FIRST, Message.RAISE):
            officials = [one.level for said in others.values() for one in said if one.official]
            verdict = await self._agreed(lead, decision, verdict, officials)
        if only_if_automatic and verdict.approvals_needed:
            return None
        alert = self._alert(lead, decision, warning_id, state, chain, out, area=_storable(lead.area))
        alert = replace(alert, rule_id=own.rule.rule_id)
        n_unreachable = len({one.policyholder_id for one in people if one.channel == UNREACHABLE})
        released = verdict.approvals_needed == 0
        await repository.add_warning(
            conn,
            alert,
            people,
            state="released" if released else "draft",
            n_people=n_people,
            n_unreachable=n_unreachable,
            content_sha256=content_sha256(alert, people),
            approvals_needed=verdict.approvals_needed,
            held=verdict.held,
        )
        await repository.supersede(conn, warning_id, alert.version, released=released)
        await self.record(own, decision, warning_id, alert.version)
        await self.record(
            own, self._release_decision(lead, decision, verdict, people, n_unreachable), warning_id, alert.version
        )
        await self.tell_changed(rule.tenant_id, warning_id, alert.version)
        if verdict.held is not None:
            await notices.tell(
                conn,
                rule.tenant_id,
                "draft_held",
                f"{warning_id} {verdict.held.value}",
                now=decision.at,
                detail={"held": verdict.held.value, "n_people": n_people, "rule": rule.code},
            )
        if not released:
            return None
        await event_repository.let_in(conn, warning_id, heard.told)
        await outbox.publish(
            conn,
            WarningReleased(warning_id=warning_id, version=alert.version),
            ordering_key=f"warning:{warning_id}",
            tenant_id=rule.tenant_id,
        )
        return alert.expires_at

    async def _others(
        self, lead: Subject, decision: Decision, warning_id: UUID, people: Sequence[Recipient]
    ) -> Mapping[UUID, list[Other]]:
        ids = {one.policyholder_id for one in people}
        return await event_repository.others_told(
            self.conn, lead.rule.tenant_id, lead.rule.peril, ids, warning_id=warning_id, now=decision.at
        )

    async def _kept_out(self, own: Subject, decision: Decision, warning_id: UUID, heard: Heard, *, eases: bool) -> None:
        """Records whom something worse keeps out; what stands for them speaks again where we end or lower."""
        stands: dict[str, int] = {}
        for one in heard.kept_out.values():
            stands[str(one.warning_id)] = stands.get(str(one.warning_id), 0) + 1
        reason = Reason.OFFICIAL_STANDS if heard.by_official else Reason.INHIBITED_BY_HIGHER
        detail = {"n_kept_out": len(heard.kept_out), "n_told": len(heard.told), "by_warning": stands}
        if not heard.told and decision.message not in ENDINGS:
            await self.record(own, decision, warning_id, None)
        await self.record(own, replace(decision, reason=reason, message=None, detail=detail), warning_id, None)
        if decision.after > Level.NONE:
            await event_repository.keep_out(
                self.conn, own.rule.tenant_id, warning_id, heard.kept_out, decision.after.word, decision.at
            )
        if eases or decision.message in (Message.LOWER, Message.ALL_CLEAR):
            self.woken |= heard.wakes

    async def _agreed(self, lead: Subject, decision: Decision, verdict: Release, officials: Sequence[Level]) -> Release:
        """The verdict, or two people where an authority says less, or too few independent stations agree.

        A station agrees that holds a warning at most one level lower; so does an authority.
        """
        rule = lead.rule
        if lead.authority is not None:
            return verdict
        if officials and max(officials) < decision.after:
            return Release(approvals_needed=2, reason=Reason.DRAFT_ABOVE_OFFICIAL)
        if rule.independent <= 1:
            return verdict
        if isinstance(rule, LevelRule):
            agreeing = [one for one in LEVELS if one >= max(Level.BLUE, decision.after - 1)]
            own, others = await rule_repository.agreeing_stations(
                self.conn, rule.tenant_id, rule.datastream_id, agreeing, decision.at
            )
            if independent_count(own, others) >= rule.independent:
                return verdict
        return Release(approvals_needed=2, reason=Reason.DRAFT_SINGLE_CAUSE)

    def _release_decision(
        self,
        lead: Subject,
        decision: Decision,
        verdict: Release,
        people: Sequence[Recipient],
        n_unreachable: int,
    ) -> Decision:
        languages = {one.policyholder_id: one.language for one in people}
        missing = missing_languages(languages.values(), default_language(lead), reviewers(lead))
        detail: dict[str, Any] = {
            "n_people": len(languages),
            "n_unreachable": n_unreachable,
            "approvals_needed": verdict.approvals_needed,
        }
        if missing:
            detail["languages_missing"] = missing
        if verdict.held:
            detail["held"] = verdict.held.value
        return replace(
            decision, reason=verdict.reason, message=None, operator=verdict.approvals_needed > 0, detail=detail
        )

    async def _audience(
        self, lead: Subject, decision: Decision, area: BaseGeometry | None, told_by: UUID | None
    ) -> list[Recipient]:
        """Everybody inside the area, and everybody who was told before: whoever got v gets v + 1."""
        conn, tenant_id = self.conn, lead.rule.tenant_id
        if area is None:
            return []
        near = await repository.people_in_box(conn, tenant_id, area)
        hit = inside(area, near.lon, near.lat) if near.ids else np.zeros(0, dtype=bool)
        people = near.only(hit)
        if told_by is not None and (elsewhere := await repository.people_told(conn, told_by) - set(people.ids)):
            people = people + await repository.people_by_id(conn, tenant_id, sorted(elsewhere))
        footprints = await repository.footprints_near(conn, tenant_id, decision.at)
        reached = shapely.union_all([one for one, _ in footprints]) if footprints else None
        zones = [zone for _, more in footprints for zone in more]
        ranks = priorities(decision.after, np.nan_to_num(people.lon), np.nan_to_num(people.lat), reached, zones)
        channels = await repository.channels_of(conn, tenant_id, people.ids)
        made = [
            Recipient(
                policyholder_id=person,
                channel=channel,
                contact_point_id=contact_point_id,
                language=language,
                priority=int(rank),
            )
            for person, language, rank in zip(people.ids, people.languages, ranks, strict=True)
            for channel, contact_point_id in channels.get(person, [(UNREACHABLE, None)])
        ]
        return sorted(made, key=lambda one: (one.policyholder_id.bytes, one.channel))

    def _alert(
        self,
        lead: Subject,
        decision: Decision,
        warning_id: UUID,
        state: LifecycleState,
        chain: Sequence[StoredWarning],
        out: Sequence[StoredWarning],
        *,
        area: BaseGeometry | None,
    ) -> Alert:
        rule = lead.rule
        version = chain[-1].alert.version + 1 if chain else 1
        exercise = bool(self.exercise)
        default = default_language(lead)
        official = lead.authority is not None
        expires_at = decision.at + rule.expires_after
        until = decision.detail.get("expires")
        if until is not None and decision.message not in ENDINGS:
            expires_at = datetime.fromisoformat(until)  # an authority's bulletin lives as long as it says
        names = {default: lead.station_name, **rule.place}
        assert decision.message is not None
        # Whoever was told nothing yet hears of it for the first time, whatever went before.
        first = not out and decision.message in (Message.RAISE, Message.LOWER, Message.RENEW)
        forecast = decision.detail.get("rests_on") == "forecast" and decision.message is not Message.ALL_CLEAR
        speaks = {default: lead.tenant_name}
        gauge = isinstance(rule, LevelRule)
        facts = Facts(
            message=Message.FIRST if first else decision.message,
            level=decision.after,
            event=rule.peril,
            quantity=rule.quantity if isinstance(rule, LevelRule) else "level",
            value=decision.value,
            threshold=rule.thresholds.get(decision.after) if isinstance(rule, LevelRule) else None,
            reading_at=decision.reading_at,
            issued_at=decision.at,
            expires_at=expires_at,
            silent=state.phase is Phase.STALE,
            timezone=rule.timezone or lead.tenant_settings.get("timezone") or "UTC",
            place=names,
            area=lead.area_desc or names,
            source={default: lead.authority} if lead.authority is not None else rule.source or speaks,
            exercise=exercise,
            forecast=forecast,
            basis=GAUGE if gauge else OFFICIAL if official else FOOTPRINT,
            relay=speaks if official else {},
        )
        sender = lead.tenant_settings.get("cap_sender") or f"tocsin:{lead.tenant_slug}"
        severity = lead.scheme.severity.get(decision.after)
        return Alert(
            warning_id=warning_id,
            version=version,
            tenant_id=rule.tenant_id,
            rule_id=rule.rule_id,
            exercise=exercise,
            status="Exercise" if exercise else "Actual",
            msg_type="Update" if out else "Alert",
            level=decision.after,
            all_clear=decision.message is Message.ALL_CLEAR,
            reason=decision.reason.value,
            identifier=f"tocsin.{warning_id}.{version}",
            sender=sender,
            sent_at=decision.at,
            onset_at=decision.reading_at if decision.message is Message.FIRST and gauge and not forecast else None,
            expires_at=expires_at,
            area=area,
            area_desc=dict(facts.area),
            texts=render_all(facts, default, reviewers(lead)),
            references=tuple(reference(one.alert.sender, one.alert.identifier, one.alert.sent_at) for one in out),
            event=rule.peril,
            hazard_event_id=rule.hazard_event_id,
            severity=severity if severity != CAP_SEVERITY.get(decision.after) else None,
            certainty="Likely" if forecast or not gauge else None,
            stage=dict(lead.scheme.names.get(decision.after, {})),
            authority=lead.authority,
            incident=lead.incident,
        )


def _storable(area: BaseGeometry | None) -> BaseGeometry | None:
    return area if area is not None and not area.is_empty else None


def default_language(lead: Subject) -> str:
    """The language in which a tenant tells those whose own cannot be sent."""
    return language_with_texts(str(lead.tenant_settings.get("language") or "en"), "en", reviewers(lead))[0]


def reviewers(lead: Subject) -> Mapping[str, str]:
    """Who answers for a language at this tenant, beyond the catalogues that are reviewed for all."""
    named = lead.tenant_settings.get("language_reviewers")
    return {one: str(name) for one, name in named.items() if name} if isinstance(named, dict) else {}
