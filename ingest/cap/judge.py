"""What becomes of each message of a feed: taken, kept in silence, set aside as a conflict, or refused; and why.

`Feed.judge` looks at messages in the order in which they came and remembers them. The order does not decide who is
told what: an Alert that comes after its Update is history, a Cancel makes its message silent whenever it comes, and a
Cancel never tells anybody anything new.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from lxml import etree

from ingest.cap.meaning import Finding, Reference, Weight, examine, instant, references, shapes
from ingest.cap.message import NAMESPACE, NAMESPACE_1_1, BadCap, CapMessage, CapRefused
from ingest.cap.read import from_tree
from ingest.cap.signature import SignaturePolicy, verify
from ingest.cap.structure import check_tree, collapse, decode, parse

_MAX_REASONS = 20
#: Coastlines in full need fewer; every place more is work before anybody can be told.
_MAX_PLACES = 20_000


class Verdict(StrEnum):
    """What becomes of a message."""

    ACCEPT = "accept"
    WARNINGS = "accept-with-warnings"
    STORE_ONLY = "store-only"  #: kept, and nobody is told
    CONFLICT = "conflict"  #: another message has this name; the first one stands until a person looks
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePolicy:
    """How the messages of one sender are read."""

    signature: SignaturePolicy = field(default_factory=SignaturePolicy)
    #: lon_min, lat_min, lon_max, lat_max of where this source may warn; what lies wholly outside is held
    region: tuple[float, float, float, float] | None = None
    delegates: frozenset[str] = frozenset()  #: other senders that may update or cancel this one's messages
    lenient: bool = False  #: times with Z and padded words are mended instead of refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of one document."""

    verdict: Verdict
    reasons: tuple[str, ...]
    would_notify: bool
    message: CapMessage | None = None  #: as it was read; none for what could not be
    retracts: tuple[tuple[str, str], ...] = ()  #: (sender, identifier) of what this one ends or replaces


@dataclass(slots=True)
class Known:
    """What is remembered of a message that was seen, or only referred to."""

    content_sha256: bytes | None = None  #: none: only referred to so far
    sent: datetime | None = None
    live: bool = False  #: it was taken, and people may have been told
    status: str | None = None
    refers_to: tuple[tuple[str, str], ...] = ()
    replaced_by: tuple[str, str] | None = None
    cancelled_by: tuple[str, str] | None = None


Key = tuple[str, str]


@dataclass(slots=True)
class Feed:
    """The messages of one feed, or of all, judged in the order in which they came."""

    policies: Mapping[str, SourcePolicy] = field(default_factory=dict)  #: by sender
    default: SourcePolicy = field(default_factory=SourcePolicy)
    known: dict[Key, Known] = field(default_factory=dict)

    def judge(self, document: bytes, now: datetime) -> Judgement:
        """What becomes of this document, seen at `now`; raises nothing for what stands in a document."""
        try:
            root = parse(document)
        except CapRefused as error:
            return _refused([str(error)])
        sender = collapse("".join(root.findtext(f"{{{etree.QName(root).namespace}}}sender") or ""))
        policy = self.policies.get(sender, self.default)
        read = verify(root, policy.signature)
        findings = list(read.findings)
        if any(one.weight is Weight.REJECT for one in findings):
            return _refused([one.reason for one in findings])
        tree, mended = _upgraded(read.root, lenient=policy.lenient)
        findings += mended
        problems = check_tree(tree)
        if problems:
            return _refused([str(one) for one in problems])
        n_places = sum(text.count(",") for text in tree.itertext(f"{{{NAMESPACE}}}polygon"))
        if n_places > _MAX_PLACES:
            return _refused([f"its polygons have {n_places} places; {_MAX_PLACES} are read"])
        try:
            message = from_tree(tree)
        except BadCap as error:
            return _refused([str(error)])
        message = replace(message, identifier=collapse(message.identifier), sender=collapse(message.sender))
        findings += _about_text(document, tree)
        if read.certificate is not None and not (
            read.certificate.not_valid_before_utc.timestamp()
            <= instant(message.sent)
            <= read.certificate.not_valid_after_utc.timestamp()
        ):
            findings.append(Finding(Weight.HOLD, "the certificate was not valid when the message was sent"))
        return self.judge_message(message, now, findings)

    def judge_message(self, message: CapMessage, now: datetime, findings: Iterable[Finding] = ()) -> Judgement:
        """`judge` for a message that came in another form than CAP's own; `findings` is what reading it showed."""
        found = [*findings, *examine(message, now)]
        region = self.policies.get(message.sender, self.default).region
        if region is not None:
            found += _outside(message, region)
        if any(one.weight is Weight.REJECT for one in found):
            return _refused([one.reason for one in found if one.weight is Weight.REJECT], message)
        return self._among_others(message, found)

    # ------------------------------------------------------------------ beside the others
    def _among_others(self, message: CapMessage, findings: list[Finding]) -> Judgement:
        key = (message.sender, message.identifier)
        content = content_sha256(message)
        before = self.known.get(key)
        if before is not None and before.content_sha256 is not None:
            if before.content_sha256 != content:
                reason = "another message with this identifier has come before; the first one stands"
                return Judgement(verdict=Verdict.CONFLICT, reasons=(reason,), would_notify=False, message=message)
            return Judgement(
                verdict=Verdict.STORE_ONLY,
                reasons=("the same message has come before",),
                would_notify=False,
                message=message,
            )
        refs, _ = references(message)
        refused = self._not_entitled(message, refs)
        if refused:
            return _refused(refused, message)
        if any(self._reaches(one, key) for one in refs):
            return _refused(["its references lead back to itself"], message)
        if any(
            k[1] == message.identifier and k[0] != message.sender and v.content_sha256 for k, v in self.known.items()
        ):
            findings.append(Finding(Weight.WARN, "another sender uses this identifier"))
        findings += self._history(key, message, refs)
        held = any(one.weight is Weight.HOLD for one in findings)
        cancels = message.msg_type == "Cancel"
        retracts = self._keep(key, message, content, refs, held)
        if cancels and not held:
            findings.append(
                Finding(Weight.WARN, "withdraws what was told; tells nothing new")
                if retracts
                else Finding(Weight.HOLD, "cancels a message that has not been taken; nobody is told")
            )
            held = not retracts
        verdict = (
            Verdict.STORE_ONLY
            if held
            else Verdict.ACCEPT
            if not findings or (cancels and len(findings) == 1)
            else Verdict.WARNINGS
        )
        return Judgement(
            verdict=verdict,
            reasons=_reasons([one.reason for one in sorted(findings, key=lambda one: -one.weight)]),
            would_notify=not held and not cancels,
            message=message,
            retracts=retracts,
        )

    def _may(self, message: CapMessage, one: Reference) -> bool:
        """Only the sender of a message, or whom it delegated that to, may change or withdraw it."""
        if one.sender == message.sender:
            return True
        return message.sender in self.policies.get(one.sender, self.default).delegates

    def _not_entitled(self, message: CapMessage, refs: Sequence[Reference]) -> list[str]:
        if message.msg_type not in ("Update", "Cancel"):
            return []
        return [
            f"{message.sender} may not {message.msg_type.lower()} {one.identifier}, a message of {one.sender}"
            for one in refs
            if not self._may(message, one)
            and (known := self.known.get((one.sender, one.identifier)))
            and known.content_sha256
        ]

    def _reaches(self, start: Reference, goal: Key) -> bool:
        """Whether the references of known messages lead from `start` to `goal`."""
        todo, seen = [(start.sender, start.identifier)], set()
        while todo:
            key = todo.pop()
            if key == goal:
                return True
            if key in seen:
                continue
            seen.add(key)
            entry = self.known.get(key)
            if entry is not None:
                todo += entry.refers_to
        return False

    def _history(self, key: Key, message: CapMessage, refs: Sequence[Reference]) -> Iterable[Finding]:
        me = self.known.get(key)
        if me is not None and me.cancelled_by is not None:
            yield Finding(Weight.HOLD, f"was cancelled by {me.cancelled_by[1]} before it came")
        elif me is not None and me.replaced_by is not None:
            yield Finding(Weight.HOLD, f"was replaced by {me.replaced_by[1]} before it came")
        if message.msg_type not in ("Update", "Cancel"):
            return
        for one in refs:
            there = self.known.get((one.sender, one.identifier))
            if not self._may(message, one):
                yield Finding(Weight.WARN, f"refers to {one.identifier} of another sender, {one.sender}")
                continue
            if there is None or there.content_sha256 is None:
                yield Finding(Weight.WARN, f"refers to {one.identifier}, which has not come")
                continue
            if there.sent is not None and instant(there.sent) != instant(one.sent):
                yield Finding(Weight.WARN, f"refers to {one.identifier} with another time than it was sent at")
            if there.status is not None and there.status != message.status:
                yield Finding(
                    Weight.HOLD, f"a message of status {message.status} refers to one of status {there.status}"
                )
            if there.cancelled_by is not None and message.msg_type == "Update":
                yield Finding(Weight.HOLD, f"updates {one.identifier}, which was cancelled")
            other = there.replaced_by
            if other is not None and other != key and message.msg_type == "Update":
                rival = self.known.get(other)
                if (
                    rival is not None
                    and rival.sent is not None
                    and other not in {(r.sender, r.identifier) for r in refs}
                ):
                    if instant(rival.sent) >= instant(message.sent):
                        yield Finding(Weight.HOLD, f"{one.identifier} was already replaced by the newer {other[1]}")
                    else:
                        yield Finding(Weight.WARN, f"{one.identifier} was also replaced by {other[1]}")

    def _keep(
        self, key: Key, message: CapMessage, content: bytes, refs: Sequence[Reference], held: bool
    ) -> tuple[Key, ...]:
        """Remembers the message and what it does to those it refers to; gives the live ones that it ends."""
        me = self.known.setdefault(key, Known())
        me.content_sha256, me.sent, me.status = content, message.sent, message.status
        me.refers_to = tuple((one.sender, one.identifier) for one in refs)
        me.live = not held and message.msg_type in ("Alert", "Update")
        ended: list[Key] = []
        # A Test, or a message to some people only, takes nothing from what the public was told.
        if message.msg_type not in ("Update", "Cancel") or message.status != "Actual" or message.scope != "Public":
            return ()
        # An update that is itself held for a person to look at replaces nothing yet.
        if held and message.msg_type == "Update" and me.replaced_by is None and me.cancelled_by is None:
            return ()
        # What it may not touch, it does not touch, even where that has not come yet.
        for other in ((one.sender, one.identifier) for one in refs if self._may(message, one)):
            entry = self.known.setdefault(other, Known())
            if entry.status not in (None, message.status):
                continue
            if entry.live:
                ended.append(other)
                entry.live = False
            if message.msg_type == "Cancel":
                entry.cancelled_by = key
            elif entry.replaced_by is None or _newer(message, self.known.get(entry.replaced_by)):
                entry.replaced_by = key
        return tuple(ended)


def _newer(message: CapMessage, other: Known | None) -> bool:
    return other is None or other.sent is None or instant(message.sent) > instant(other.sent)


def _refused(reasons: Sequence[str], message: CapMessage | None = None) -> Judgement:
    return Judgement(verdict=Verdict.REJECT, reasons=_reasons(reasons), would_notify=False, message=message)


def _reasons(told: Sequence[str]) -> tuple[str, ...]:
    kept = list(dict.fromkeys(told))
    if len(kept) > _MAX_REASONS:
        kept = [*kept[:_MAX_REASONS], f"and {len(kept) - _MAX_REASONS} more"]
    return tuple(kept)


def content_sha256(message: CapMessage) -> bytes:
    """The same for the same message, however it was spaced, prefixed, encoded or signed."""
    return hashlib.sha256(repr(message).encode("utf-8", "surrogatepass")).digest()


def _about_text(document: bytes, root: etree._Element) -> Iterable[Finding]:
    """What the way in which a document was written says."""
    text, declared = decode(document)
    if declared in ("utf-16", "utf-16le", "utf-16be") and b"\0" not in document:
        yield Finding(Weight.WARN, "declared as UTF-16 but written in UTF-8")
    if declared == "iso-8859-1" and not text.isascii():
        try:
            document.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            yield Finding(Weight.WARN, "declared as ISO-8859-1 but written in UTF-8: its text may be garbled")
    for element in root.iter():
        if not isinstance(element.tag, str) and element.getparent() is not None:
            parent = element.getparent()
            if not any(isinstance(one.tag, str) for one in parent) and collapse("".join(parent.itertext())):
                yield Finding(Weight.WARN, "a comment or instruction stands inside a value; it is left out")
                return


_TIMES = frozenset({"sent", "effective", "onset", "expires"})
_WORDS = frozenset({"status", "msgType", "scope", "category", "responseType", "urgency", "severity", "certainty"})


def _upgraded(root: etree._Element, *, lenient: bool) -> tuple[etree._Element, list[Finding]]:
    """A CAP 1.1 document as one of 1.2, whose elements are the same but for the writing of times (CAP 1.2, 1.6)."""
    old = f"{{{NAMESPACE_1_1}}}"
    findings = []
    is_old = isinstance(root.tag, str) and root.tag.startswith(old)
    if is_old:
        findings.append(Finding(Weight.WARN, "CAP 1.1"))
    if not is_old and not lenient:
        return root, findings
    mended = False
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        if is_old and element.tag.startswith(old):
            element.tag = f"{{{NAMESPACE}}}{element.tag[len(old) :]}"
        name = etree.QName(element).localname
        if not len(element) and element.text:
            text = collapse(element.text) if name in _WORDS | _TIMES else element.text
            if name in _TIMES:
                if text.endswith("Z"):
                    text = text[:-1] + "+00:00"
                if len(text) > 25 and text[19:20] == ".":  # parts of a second
                    text = text[:19] + text[19:].lstrip(".0123456789")
            if text != element.text:
                element.text = text
                mended = True
    if mended and lenient and not is_old:
        findings.append(Finding(Weight.WARN, "times or words were not written as CAP 1.2 has it; they were mended"))
    return root, findings


def _outside(message: CapMessage, region: tuple[float, float, float, float]) -> Iterable[Finding]:
    west, south, east, north = region
    placed = [shape for info in message.info for area in info.area for shape in shapes(area)]
    if placed and not any(
        p.bounds[0] <= east and p.bounds[2] >= west and p.bounds[1] <= north and p.bounds[3] >= south for p in placed
    ):
        yield Finding(Weight.HOLD, "the area lies outside the region of this source: latitude and longitude swapped?")
