"""Chinese four-colour warnings as a relay (QWeather) passes them on: colours, lifts, renewals, and a storm's track.

IV blue, III yellow, II orange, I red are CAP's Minor, Moderate, Severe, Extreme. A lift (解除) is an all-clear, and a
renewal (继续发布, update) replaces what it supersedes. The relay gives no place: the district asked for stands.
"""

import csv
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ingest.cap.message import CapArea, CapInfo, CapMessage
from ingest.weather.atcf import Fix
from ingest.weather.items import BadFeed, Official, a_list, a_number, a_place, a_time, an_object, read_json

SENDER = "qweather-relay"
SEVERITY = {"blue": "Minor", "yellow": "Moderate", "orange": "Severe", "red": "Extreme"}
_SIGNS = {"蓝色": "blue", "黄色": "yellow", "橙色": "orange", "红色": "red"}
_KM_PER_NMI = 1.852
_KN_PER_M_S = 3600 / 1852


def parse(body: bytes, area: CapArea | None = None) -> list[Official]:
    """Warnings of either form of answer; `area` is the district that was asked for. Raises BadFeed."""
    document = an_object(read_json(body), "answer")
    if "alerts" in document:
        return [
            _alert(an_object(one, f"alerts[{n}]"), f"alerts[{n}]", area) for n, one in enumerate(document["alerts"])
        ]
    if str(document.get("code")) != "200":
        raise BadFeed("The relay says that it has no answer.", code=str(document.get("code"))[:20])
    told = a_list(document.get("warning"), "warning")
    return [_warning(an_object(one, f"warning[{n}]"), f"warning[{n}]", area) for n, one in enumerate(told)]


def _colour(given: Any, *texts: Any) -> str | None:
    word = str(given or "").lower()
    if word in SEVERITY:
        return word
    return next((colour for text in texts for sign, colour in _SIGNS.items() if sign in str(text or "")), None)


def _message(
    *, identifier: str, office: str, sent: datetime, name: str, code: str, colour: str | None, headline: str, text: str,
    onset: Any, expires: Any, instruction: str | None, replaces: tuple[str, ...], lifted: bool, area: CapArea | None,
    where: str, raw: bytes,
) -> Official:  # fmt: skip
    amiss = [] if colour else ["no colour is said"]
    # The relay names no times of what is replaced; those of this message stand in and are known to be wrong.
    references = tuple(f"{SENDER},{one},{sent.isoformat()}" for one in replaces)
    msg_type = "Update" if references else "Alert"
    info = CapInfo(
        language="zh-CN",
        category=("Met",),
        event=name,
        event_code=(("qweather", code),),
        response_type=("AllClear",) if lifted else (),
        urgency="Past" if lifted else "Unknown",
        severity="Minor" if lifted else SEVERITY.get(colour or "", "Unknown"),
        certainty="Unknown",
        onset=a_time(onset, f"{where}.onset") if onset else None,
        expires=a_time(expires, f"{where}.expires") if expires else None,
        sender_name=office,
        headline=headline,
        description=text,
        instruction=instruction,
        area=(area,) if area is not None else (),
    )
    message = CapMessage(
        identifier=identifier, sender=SENDER, sent=sent, status="Actual", msg_type=msg_type, scope="Public",
        references=references, info=(info,),
    )  # fmt: skip
    return Official(message=message, raw=raw, amiss=tuple(amiss), colour=None if lifted else colour)


def _warning(row: Mapping[str, Any], where: str, area: CapArea | None) -> Official:
    title = str(row.get("title") or "")
    return _message(
        identifier=str(row["id"]),
        office=str(row.get("sender") or ""),
        sent=a_time(row.get("pubTime"), f"{where}.pubTime"),
        name=str(row.get("typeName") or ""),
        code=str(row.get("type") or ""),
        colour=_colour(row.get("severityColor"), title),
        headline=title,
        text=str(row.get("text") or ""),
        onset=row.get("startTime"),
        expires=row.get("endTime"),
        instruction=None,
        replaces=tuple(one for one in str(row.get("related") or "").split(",") if one),
        lifted="解除" in title,
        area=area,
        where=where,
        raw=repr(row).encode(),
    )


def _alert(row: Mapping[str, Any], where: str, area: CapArea | None) -> Official:
    kind = an_object(row.get("messageType") or {}, f"{where}.messageType")
    event = an_object(row.get("eventType") or {}, f"{where}.eventType")
    headline = str(row.get("headline") or "")
    return _message(
        identifier=str(row["id"]),
        office=str(row.get("senderName") or ""),
        sent=a_time(row.get("issuedTime"), f"{where}.issuedTime"),
        name=str(event.get("name") or ""),
        code=str(event.get("code") or ""),
        colour=_colour((row.get("color") or {}).get("code"), headline),
        headline=headline,
        text=str(row.get("description") or ""),
        onset=row.get("onsetTime"),
        expires=row.get("expireTime"),
        instruction=str(row.get("instruction") or "") or None,
        replaces=tuple(str(one) for one in kind.get("supersedes") or []),
        lifted=str(kind.get("code")) == "cancel" or "解除" in headline,
        area=area,
        where=where,
        raw=repr(row).encode(),
    )


def hazards(body: bytes) -> dict[str, tuple[str, str]]:
    """Code of a hazard -> its name in Chinese and in English; raises BadFeed."""
    table = csv.DictReader(body.decode("utf-8-sig").splitlines())
    try:
        return {row["type"].strip(): (row["type_name_zh"].strip(), row["type_name_en"].strip()) for row in table}
    except (KeyError, AttributeError) as error:
        raise BadFeed("The table of hazards has the columns type, type_name_zh, type_name_en.") from error


def track(body: bytes) -> list[Fix]:
    """Fixes of a storm's track, oldest first: m/s and km become knots and nautical miles. Raises BadFeed."""
    document = an_object(read_json(body), "answer")
    number = int.from_bytes(hashlib.sha256(str(document.get("fxLink")).encode()).digest()[:2], "big")
    found: dict[datetime, Fix] = {}
    for n, row in enumerate([*a_list(document.get("track"), "track"), document.get("now")]):
        if row is None:
            continue
        where = f"track[{n}]"
        at = a_time(row.get("time") or row.get("pubTime"), where)
        lon, lat = a_place(row.get("lon"), row.get("lat"), where)
        radii: dict[int, tuple[float | None, float | None, float | None, float | None]] = {}
        for name, knots in (("windRadius30", 34), ("windRadius50", 50), ("windRadius64", 64)):
            told = row.get(name)
            if isinstance(told, dict) and told:
                ne, se, sw, nw = (
                    a_number(told[q], where) / _KM_PER_NMI if told.get(q) else None
                    for q in ("neRadius", "seRadius", "swRadius", "nwRadius")
                )
                radii[knots] = (ne, se, sw, nw)
        found[at] = Fix(
            basin="WP", number=number, technique="QWEATHER", issued_at=at, lead_h=0, lon=lon, lat=lat,
            wind_kn=a_number(row["windSpeed"], where) * _KN_PER_M_S if row.get("windSpeed") else None,
            pressure_hpa=a_number(row["pressure"], where) if row.get("pressure") else None,
            stage=str(row.get("type") or ""), radii_nmi=radii,
        )  # fmt: skip
    return [found[at] for at in sorted(found)]
