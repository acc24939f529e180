"""OED reinsurance info and scope files to treaties over the rows of a book."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import InvalidInput
from geo.oed_table import OedTable, encode, joint
from geo.reinsurance import KINDS, RISK_LEVELS, Outward, Reinstatement, Tier, Treaty, order
from geo.terms import BoolArray, FloatArray, IntArray
from geo.terms_book import TermsBook
from geo.terms_rows import Rates, covered, days_of, rates_of

_KEYS = ("PortNumber", "AccNumber", "PolNumber", "LocGroup", "LocNumber")
_OTHER = ("CedantName", "ProducerName", "LOB", "CountryCode", "ReinsTag")
_FROM_ACCOUNT = ("PolNumber", "CedantName", "ProducerName", "LOB")
_RISK_FIELDS = {
    "LOC": ("PortNumber", "AccNumber", "LocNumber"),
    "LGR": ("LocGroup",),
    "POL": ("PortNumber", "AccNumber", "PolNumber"),
    "ACC": ("PortNumber", "AccNumber"),
    "SEL": ("PortNumber",),
}
#: What the scope of a facultative or surplus contract must name, and must leave blank.
_EXACT = {
    "ACC": (("AccNumber",), ("PolNumber", "LocNumber")),
    "POL": (("AccNumber", "PolNumber"), ("LocNumber",)),
    "LOC": (("AccNumber", "LocNumber"), ()),
    "LGR": (("LocGroup",), ()),
    "SEL": ((), ()),
}
INFO_FIELDS = (
    "ReinsNumber", "ReinsLayerNumber", "ReinsName", "ReinsPeril", "ReinsInceptionDate", "ReinsExpiryDate",
    "CededPercent", "RiskLimit", "RiskAttachment", "OccLimit", "OccAttachment", "AggLimit", "AggAttachment",
    "PlacedPercent", "ReinsCurrency", "InuringPriority", "ReinsType", "RiskLevel", "AttachmentBasis", "UseReinsDates",
    "OccFranchiseDed", "OccReverseFranchise", "DeemedPercentPlaced", "TreatyShare", "ReinsFXrate", "AggPeriod",
    "Reinstatement", "ReinstatementCharge", "ReinsPremium",
)  # fmt: skip
#: Terms of OED that no treaty here has, and the value at which they change nothing.
_NOT_COMPUTED = {"TreatyShare": 1.0, "ReinsFXrate": 1.0}
_YEAR_DAYS = (0.0, 365.0, 366.0)  #: values of AggPeriod that are a year; 0 stands in files that fill every field
SCOPE_FIELDS = ("ReinsNumber", *_KEYS, *_OTHER, "CededPercent")


class _Rows:
    """The rows of a book by the fields that a scope can name."""

    def __init__(self, book: TermsBook, scope: OedTable) -> None:
        self.book, self.scope = book, scope
        self.n = book.n_rows
        place, policy = book.row_location, book.policy_row[book.row_policy]
        self.row_code: dict[str, IntArray] = {}
        self.scope_code: dict[str, IntArray] = {}
        for name in (*_KEYS, *_OTHER):
            from_account = name in _FROM_ACCOUNT or (name == "ReinsTag" and not book.location.has(name))
            source, index = (book.account, policy) if from_account else (book.location, place)
            (mine, theirs), _ = encode(source.texts(name), scope.texts(name))
            self.row_code[name], self.scope_code[name] = mine[index], theirs
        self.blank = {name: np.array([not t for t in scope.strings(name)]) for name in (*_KEYS, *_OTHER)}
        self._index: dict[tuple[str, ...], tuple[IntArray, IntArray, IntArray]] = {}

    def within(self, scope_row: int) -> IntArray:
        """(k,) rows that a scope row names, ascending; a blank field names all."""
        fields = tuple(name for name in (*_KEYS, *_OTHER) if not self.blank[name][scope_row])
        if not fields:
            return np.arange(self.n)
        if fields not in self._index:
            mine = tuple(self.row_code[name] for name in fields)
            theirs = tuple(self.scope_code[name] for name in fields)
            (row_key, scope_key), _ = joint(mine, theirs)
            by_key = np.argsort(row_key, kind="stable")
            self._index[fields] = (by_key, row_key[by_key], scope_key)
        by_key, sorted_key, scope_key = self._index[fields]
        first, last = np.searchsorted(sorted_key, [scope_key[scope_row], scope_key[scope_row] + 1])
        return by_key[first:last]

    def risks(self, risk_level: str, rows: IntArray) -> tuple[IntArray, int]:
        """(risk of each row, number of risks)."""
        fields = tuple(self.row_code[name][rows] for name in _RISK_FIELDS[risk_level])
        (risk,), n = joint(fields)
        return risk, n


def read_outward(
    book: TermsBook,
    info: OedTable,
    scope: OedTable,
    *,
    peril: str | None = None,
    event_date: date | None = None,
    rates: Rates | None = None,
) -> Outward:
    """The reinsurance of a book; raises BadOedRows with line, field and reason."""
    for table, needed in ((info, ("ReinsNumber", "ReinsType", "InuringPriority")), (scope, ("ReinsNumber",))):
        missing = [name for name in needed if not table.has(name)]
        if missing:
            raise InvalidInput(f"{table.path.name}: the header lacks {', '.join(missing)}")
    rate = rates_of(info, "ReinsCurrency", book.currency, rates or Rates({}))
    kinds = [text.upper() for text in info.strings("ReinsType")]
    risk_levels = [text.upper() for text in info.strings("RiskLevel", "SEL")]
    numbers = info.strings("ReinsNumber")
    priority = info.whole("InuringPriority")
    amounts = {
        name: limitless(info.numbers(name) * rate)
        for name in ("RiskLimit", "OccLimit", "AggLimit", "OccReverseFranchise")
    }
    attachments = {
        name: info.numbers(name) * rate
        for name in ("RiskAttachment", "OccAttachment", "AggAttachment", "OccFranchiseDed")
    }
    reinstated = read_reinstatements(info, kinds, amounts, rate)
    ceded = info.numbers("CededPercent", 1.0, high=1.0)
    placed = info.numbers("PlacedPercent", 1.0, high=1.0)
    scope_ceded = scope.numbers("CededPercent", 1.0, high=1.0)
    responds = _responds(info, peril, event_date)
    for row, (kind, level) in enumerate(zip(kinds, risk_levels, strict=True)):
        if kind not in KINDS:
            info.refuse(row, "ReinsType", f"{kind!r} is none of {', '.join(KINDS)}")
        if level not in RISK_LEVELS:
            info.refuse(row, "RiskLevel", f"{level!r} is none of {', '.join(RISK_LEVELS)}")
        if priority[row] < 1:
            info.refuse(row, "InuringPriority", f"{priority[row]} is less than 1")
    refuse_period(info)
    refuse_what_is_not_computed(info)
    scoped: dict[str, list[int]] = {}
    for row, number in enumerate(scope.strings("ReinsNumber")):
        scoped.setdefault(number, []).append(row)
    for number, named_by in scoped.items():
        if number not in numbers:
            for row in named_by:
                scope.refuse(row, "ReinsNumber", f"contract {number!r} is not in {info.path.name}")
    for row, number in enumerate(numbers):
        if number not in scoped:
            info.refuse(row, "ReinsNumber", f"contract {number!r} has no scope in {scope.path.name}")
        elif kinds[row] in ("FAC", "SS") and risk_levels[row] in _EXACT:
            _check_exact(scope, scoped[number], kinds[row], risk_levels[row])
    info.check()
    scope.check()

    named = _Rows(book, scope)
    policy_inception = _inceptions(book) if any(basis == "RA" for basis in info.strings("AttachmentBasis")) else None
    tiers: dict[tuple[int, str], list[Treaty]] = {}
    for row in range(info.n):
        if not responds[row]:
            continue
        level = risk_levels[row]
        rows, share = _scope(named, scoped[numbers[row]], scope_ceded)
        if policy_inception is not None and info.strings("AttachmentBasis")[row] == "RA":
            keep = _attached(info, row, book, rows, policy_inception[rows])
            rows, share = rows[keep], share[keep]
        if not len(rows):
            continue
        treaty = _treaty(
            info, row, kinds[row], level, named, rows, share, amounts, attachments, float(ceded[row]),
            float(placed[row]), reinstated[row],
        )  # fmt: skip
        tiers.setdefault((int(priority[row]), level), []).append(treaty)
    made = [Tier(p, level, _merged(treaties)) for (p, level), treaties in tiers.items()]
    notes = tuple(
        f"{treaty.name} answers to a year ({treaty.year_limit:,.0f} xs {treaty.year_attachment:,.0f}): a single event "
        "is the first of its year"
        for tier in made
        for treaty in tier.treaties
        if treaty.annual
    )
    notes += tuple(
        f"DeemedPercentPlaced of contract {numbers[row]} changes nothing: a notional contract takes its losses"
        for row in np.flatnonzero(info.numbers("DeemedPercentPlaced", high=1.0) > 0).tolist()
    )
    info.check()
    return Outward(book.n_rows, order(made), notes)


def refuse_period(info: OedTable) -> None:
    """Aggregate terms of another period than a year become bad rows."""
    period = info.numbers("AggPeriod", 365.0)
    for row in np.flatnonzero(~np.isin(period, _YEAR_DAYS) & has_year_terms(info)).tolist():
        info.refuse(row, "AggPeriod", f"{period[row]:g} days are not computed here: only a year, 365")


def refuse_what_is_not_computed(info: OedTable) -> None:
    """Terms that no treaty here has become bad rows."""
    for name, default in _NOT_COMPUTED.items():
        values = info.numbers(name, default)
        for row in np.flatnonzero(values != default).tolist():
            info.refuse(row, name, f"{values[row]:g} is not computed here: only {default:g} or a blank")


def limitless(values: FloatArray) -> FloatArray:
    """Limits of which 0 is none: infinite."""
    return np.where(values > 0, values, np.inf)


def _responds(info: OedTable, peril: str | None, event_date: date | None) -> BoolArray:
    answer = covered(info, "ReinsPeril", peril)
    begins, ends = days_of(info, "ReinsInceptionDate"), days_of(info, "ReinsExpiryDate")
    for row in range(info.n):
        first, last = begins[row], ends[row]
        if first and last and last < first:
            info.refuse(row, "ReinsExpiryDate", f"{last} is before the inception {first}")
        uses = info.texts("UseReinsDates", "N")[row].as_py().upper() == "Y"
        losses_occurring = info.texts("AttachmentBasis", "LO")[row].as_py().upper() != "RA"
        if uses and losses_occurring and event_date is not None:
            answer[row] &= not ((first and event_date < first) or (last and event_date > last))
    return answer


def _check_exact(scope: OedTable, rows: list[int], kind: str, level: str) -> None:
    needed, barred = _EXACT[level]
    for row in rows:
        for name in needed:
            if not scope.texts(name)[row].as_py():
                scope.refuse(row, name, f"it is empty, and a {kind} contract by {level} must name it")
        for name in barred:
            if scope.texts(name)[row].as_py():
                scope.refuse(row, name, f"a {kind} contract by {level} must leave it blank")


def _inceptions(book: TermsBook) -> Any:
    """(n_rows,) inception day of each row's policy; not a time where the file gives none."""
    days = days_of(book.account, "PolInceptionDate")
    book.account.check()
    given = [days[row] for row in book.policy_row.tolist()]
    return np.array(["NaT" if day is None else day for day in given], dtype="datetime64[D]")[book.row_policy]


def _attached(info: OedTable, row: int, book: TermsBook, rows: IntArray, inception: Any) -> BoolArray:
    for policy in np.unique(book.policy_row[book.row_policy[rows[np.isnat(inception)]]]).tolist():
        book.account.refuse(policy, "PolInceptionDate", "it is empty, and a risk-attaching contract needs it")
    book.account.check()
    first, last = days_of(info, "ReinsInceptionDate")[row], days_of(info, "ReinsExpiryDate")[row]
    if first is None or last is None:
        info.refuse(row, "ReinsInceptionDate", "a risk-attaching contract needs its inception and expiry")
        info.check()
    found: BoolArray = (inception >= np.datetime64(first)) & (inception <= np.datetime64(last))
    return found


def _scope(named: _Rows, scope_rows: list[int], scope_ceded: FloatArray) -> tuple[IntArray, FloatArray]:
    """(rows in scope, ascending; the scope's ceded share for each: the last scope row that names it)."""
    if len(scope_rows) == 1:
        rows = np.sort(named.within(scope_rows[0]))
        return rows, np.full(len(rows), scope_ceded[scope_rows[0]])
    parts = [named.within(row) for row in scope_rows]
    rows = np.concatenate(parts)
    share = np.repeat(scope_ceded[scope_rows], [len(part) for part in parts])
    # the last naming wins: reverse, keep the first of each
    unique, at = np.unique(rows[::-1], return_index=True)
    return unique, share[::-1][at]


def _treaty(
    info: OedTable,
    row: int,
    kind: str,
    level: str,
    named: _Rows,
    rows: IntArray,
    share: FloatArray,
    limits: dict[str, FloatArray],
    attachments: dict[str, FloatArray],
    ceded: float,
    placed: float,
    reinstatement: Reinstatement | None,
) -> Treaty:
    name = info.texts("ReinsName")[row].as_py() or info.texts("ReinsNumber")[row].as_py()
    year_limit = float(limits["AggLimit"][row])
    if reinstatement is not None:
        year_limit = min(year_limit, reinstatement.limit * (1 + reinstatement.times))
    contract: dict[str, Any] = {
        "occurrence_limit": float(limits["OccLimit"][row]), "placed": placed,
        "franchise": float(attachments["OccFranchiseDed"][row]),
        "reverse_franchise": float(limits["OccReverseFranchise"][row]),
        "year_attachment": float(attachments["AggAttachment"][row]), "year_limit": year_limit,
        "reinstatement": reinstatement,
    }  # fmt: skip
    if kind in ("CXL", "AXL"):
        return Treaty(
            name, rows, np.zeros(len(rows), np.int64), np.ones(1), np.zeros(1), np.full(1, np.inf), np.ones(1),
            occurrence_ceded=ceded, occurrence_attachment=float(attachments["OccAttachment"][row]), **contract,
        )  # fmt: skip
    risk, n = named.risks(level, rows)
    of_risk = np.full(n, ceded)
    if kind == "SS":
        of_risk[risk] = share
    attachment = 0.0 if kind == "QS" else float(attachments["RiskAttachment"][row])
    placed_of_risk = 1.0
    if kind == "FAC":
        contract["occurrence_limit"] = np.inf
        if contract["year_attachment"] == 0 and np.isinf(year_limit):
            placed_of_risk, contract["placed"] = placed, 1.0
    return Treaty(
        name, rows, risk, of_risk, np.full(n, attachment), np.full(n, limits["RiskLimit"][row]),
        np.full(n, placed_of_risk),
        occurrence_attachment=float(attachments["OccAttachment"][row]) if kind == "PR" else 0.0, **contract,
    )  # fmt: skip


def has_year_terms(info: OedTable) -> BoolArray:
    """(rows,) whether a contract says something of the year's sum."""
    found: BoolArray = (info.numbers("AggLimit") > 0) | (info.numbers("AggAttachment") > 0)
    found |= np.array([kind.upper() == "AXL" for kind in info.strings("ReinsType")], dtype=bool)
    return found


def read_reinstatements(
    info: OedTable, kinds: list[str], limits: dict[str, FloatArray], rate: FloatArray
) -> list[Reinstatement | None]:
    """Reinstatements of each contract; None where the limit is paid without end (a blank).

    A catastrophe or aggregate excess reinstates its occurrence limit, a per-risk excess its risk limit; a 0 of a
    catastrophe excess is none, and is taken as not given elsewhere. Faults become bad rows.
    """
    premium, times = info.numbers("ReinsPremium") * rate, info.whole("Reinstatement")
    given, charges = info.strings("Reinstatement"), info.strings("ReinstatementCharge")
    found: list[Reinstatement | None] = []
    for row, kind in enumerate(kinds):
        found.append(None)
        n = int(times[row])
        if given[row] == "" or (n == 0 and kind != "CXL"):
            continue
        field = {"CXL": "OccLimit", "AXL": "OccLimit", "PR": "RiskLimit"}.get(kind)
        if field is None:
            info.refuse(row, "Reinstatement", f"a contract of type {kind} has no limit that is reinstated")
            continue
        limit = float(limits[field][row])
        if np.isinf(limit):
            if n:
                info.refuse(row, "Reinstatement", f"there is no {field} that could be reinstated")
            continue
        shares: list[float] = []
        for part in charges[row].split(";") if charges[row] else ():
            try:
                share = float(part)
            except ValueError:
                share = -1.0
            if not 0 <= share < 100:
                info.refuse(row, "ReinstatementCharge", f"{charges[row]!r} is not shares separated by semicolons")
                break
            shares.append(share)
        found[row] = Reinstatement(limit, n, float(premium[row]), tuple(shares))
    return found


def _merged(treaties: list[Treaty]) -> tuple[Treaty, ...]:
    """Facultative contracts, which have no occurrence terms, as one: a book may have thousands."""
    single = [t for t in treaties if t.plain]
    if len(single) < 2:
        return tuple(treaties)
    offsets = np.cumsum([0, *(len(t.ceded) for t in single)])
    together = replace(
        single[0],
        name="facultative and other contracts without occurrence terms",
        rows=np.concatenate([t.rows for t in single]),
        risk=np.concatenate([t.risk + off for t, off in zip(single, offsets[:-1], strict=True)]),
        ceded=np.concatenate([t.ceded for t in single]),
        attachment=np.concatenate([t.attachment for t in single]),
        limit=np.concatenate([t.limit for t in single]),
        placed_of_risk=np.concatenate([t.placed_of_risk for t in single]),
    )
    rest = [t for t in treaties if not any(t is s for s in single)]
    return (together, *rest)


def arrow_rows(book: TermsBook) -> dict[str, pa.Array]:
    """The identifying columns of a book's rows."""
    place, policy = book.row_location, book.policy_row[book.row_policy]
    return {
        "PortNumber": book.location.texts("PortNumber").take(pa.array(place)),
        "AccNumber": book.location.texts("AccNumber").take(pa.array(place)),
        "LocNumber": book.location.texts("LocNumber").take(pa.array(place)),
        "PolNumber": book.account.texts("PolNumber").take(pa.array(policy)),
        "LayerNumber": book.account.texts("LayerNumber", "1").take(pa.array(policy)),
    }
