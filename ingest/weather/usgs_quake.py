"""USGS earthquakes (GeoJSON summary feed): magnitudes that are revised, ids that change, events that are deleted.

Times are milliseconds since 1970. The preferred id of an event can change; `ids` lists all that it was ever known by,
so events are one where these lists meet (USGS, GeoJSON summary format).
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from ingest.weather.items import HazardSeen, a_list, a_number, a_place, an_object, of_ms, read_json

_KINDS = frozenset({"earthquake"})


def parse(body: bytes) -> list[HazardSeen]:
    """The earthquakes of a summary feed; quarry blasts and the like are left out. Raises BadFeed."""
    found = []
    for n, feature in enumerate(a_list(an_object(read_json(body), "feed").get("features"), "features")):
        where = f"features[{n}]"
        p = an_object(an_object(feature, where).get("properties"), f"{where}.properties")
        if p.get("type") not in _KINDS and p.get("status") != "deleted":
            continue
        code = str(feature.get("id") or f"{p.get('net', '')}{p.get('code', '')}")
        aliases = frozenset(one for one in str(p.get("ids") or "").split(",") if one) | {code}
        status = str(p.get("status") or "").lower()
        deleted = status == "deleted"
        facts = {"status": status, "magnitude_type": p.get("magType"), "place": p.get("place")}
        if p.get("mag") is not None:
            facts["magnitude"] = a_number(p["mag"], f"{where}.mag")
        if p.get("alert") is not None:
            facts["pager"] = str(p["alert"])
        geometry = feature.get("geometry")
        if geometry is not None:
            at = a_list(an_object(geometry, f"{where}.geometry").get("coordinates"), f"{where}.coordinates")
            facts["lon"], facts["lat"] = a_place(at[0], at[1], where)
            if len(at) > 2 and at[2] is not None:
                facts["depth_km"] = a_number(at[2], f"{where}.depth")
        found.append(
            HazardSeen(
                code=code,
                aliases=aliases,
                peril="earthquake",
                name=str(p.get("title") or p.get("place") or code),
                started_at=of_ms(p.get("time"), f"{where}.time"),
                updated_at=of_ms(p.get("updated"), f"{where}.updated"),
                deleted=deleted,
                reviewed=status == "reviewed",
                facts=facts,
            )
        )
    return found


def same(one: HazardSeen, other: HazardSeen) -> bool:
    """Whether two tellings are of one event: their ids meet."""
    return not one.aliases.isdisjoint(other.aliases)


def changes(before: Sequence[HazardSeen], now: Iterable[HazardSeen], *, window: timedelta) -> list[HazardSeen]:
    """What a new answer of the feed changes against the last one, each event once.

    New events, those with a later `updated_at`, and as deleted those that are gone though the feed's window still
    covers them. An older telling of a known event changes nothing.
    """
    out: list[HazardSeen] = []
    current = list(now)
    met: set[int] = set()
    for one in current:
        known = [k for k in range(len(before)) if same(before[k], one)]
        met.update(known)
        if not known or all(before[k].updated_at < one.updated_at for k in known):
            out.append(one)
    newest = max((one.updated_at for one in current), default=None)
    for k, old in enumerate(before):
        if k in met or old.deleted or newest is None or old.started_at < newest - window:
            continue
        out.append(
            HazardSeen(
                code=old.code, aliases=old.aliases, peril=old.peril, name=old.name, started_at=old.started_at,
                updated_at=newest, deleted=True, reviewed=old.reviewed, facts=dict(old.facts),
            )
        )  # fmt: skip
    return out
