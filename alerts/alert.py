"""One version of a warning as people get it, and the hash that an approval binds."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import shapely
from shapely.geometry.base import BaseGeometry

from alerts.level import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What is said, in one language."""

    headline: str
    description: str
    instruction: str
    sms: str = ""  #: of a text message, as short as it can be; none: the headline stands in
    say: str = ""  #: of a call
    timezone: str = ""  #: that its times are told in; none: UTC


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Recipient:
    """One person on one channel; `channel` is `none` for a person inside the area whom no channel reaches."""

    policyholder_id: UUID
    channel: str
    contact_point_id: UUID | None
    language: str
    priority: int = 100  #: lower is told first


#: The channel of somebody who cannot be told.
UNREACHABLE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An immutable version of a warning: the nouns of CAP 1.2 in our words."""

    warning_id: UUID
    version: int
    tenant_id: UUID
    rule_id: UUID | None
    exercise: bool
    status: str  #: CAP: Actual, Exercise, Test, Draft, System
    msg_type: str  #: CAP: Alert, Update, Cancel
    level: Level
    all_clear: bool
    reason: str  #: of the lifecycle's decision
    identifier: str
    sender: str
    sent_at: datetime
    expires_at: datetime
    area: BaseGeometry | None  #: EPSG:4326 polygons; none: nobody can be warned
    area_desc: Mapping[str, str]
    texts: Mapping[str, Text]
    references: tuple[str, ...] = ()
    onset_at: datetime | None = None
    event: str = "flood"
    hazard_event_id: UUID | None = None
    severity: str | None = None  #: CAP; none: the common one of the level
    certainty: str | None = None  #: CAP; none: Observed
    stage: Mapping[str, str] = field(default_factory=dict)  #: language -> what the tenant calls the level
    authority: str | None = None  #: who issued it, where an official bulletin is passed on
    incident: str | None = None  #: shared with other warnings of the same event

    def language_for(self, wanted: str, default: str) -> str:
        """The language this person is told in: theirs, its base (`zh-Hant` -> `zh`), the default, or any there is."""
        for one in (wanted, wanted.split("-")[0], default):
            if one in self.texts:
                return one
        return next(iter(self.texts))


def reference(sender: str, identifier: str, sent_at: datetime) -> str:
    """How CAP refers to a message: `sender,identifier,sent`."""
    return f"{sender},{identifier},{sent_at.astimezone(UTC).isoformat(timespec='seconds')}"


def content_sha256(alert: Alert, recipients: Iterable[Recipient]) -> bytes:
    """SHA-256 of everything an approval is about: words, area, level, life, people and channels.

    Canonical JSON (sorted keys, no spaces, UTF-8); the area as normalised WKB, so that the same polygon begun at
    another corner is the same area. Any change of content changes the hash and so voids approvals given for another.
    """
    told = {
        "warning": [str(alert.warning_id), alert.version],
        "kind": [alert.status, alert.msg_type, alert.level.word, alert.all_clear],
        "expires": alert.expires_at.astimezone(UTC).isoformat(),
        "references": list(alert.references),
        "area": shapely.normalize(alert.area).wkb_hex if alert.area is not None else None,
        "area_desc": dict(alert.area_desc),
        "texts": {
            language: [text.headline, text.description, text.instruction, text.sms, text.say, text.timezone]
            for language, text in alert.texts.items()
        },
        # what a version says only where a tenant's table or its cause asks for it: older drafts keep their hash
        **{
            name: said
            for name, said in (
                ("severity", alert.severity),
                ("certainty", alert.certainty),
                ("stage", dict(alert.stage)),
                ("authority", alert.authority),
                ("incident", alert.incident),
            )
            if said
        },
        "people": sorted(
            [str(one.policyholder_id), one.channel, str(one.contact_point_id), one.language] for one in recipients
        ),
    }
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()
