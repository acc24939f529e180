"""OED location and account files to a programme of terms: which levels a book has, who meets in them, on what terms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import InvalidInput
from geo.oed import TIV_FIELDS
from geo.oed_table import OedTable, encode, joint
from geo.perils import covers
from geo.terms import BoolArray, FloatArray, IntArray, Level, Programme, Terms, stack, sums, with_columns

COVERAGES = ("1Building", "2Other", "3Contents", "4BI")
_SUFFIXES = (*COVERAGES, "5PD", "6All")
_TERMS = ("Ded", "DedCode", "DedType", "MinDed", "MaxDed", "Limit", "LimitCode", "LimitType")
DAYS_OF_YEAR = 365.0

LOCATION_FIELDS = (
    "PortNumber", "AccNumber", "LocNumber", "LocPerilsCovered", "LocPeril", "LocCurrency", "CountryCode", "LocGroup",
    "ReinsTag", "CondTag", "NumberOfBuildings", "IsAggregate", *TIV_FIELDS, "BIWaitingPeriod", "BIWaitingPeriodType",
    "BIPOI", "BIPOIType", *(f"Loc{term}{suffix}" for term in _TERMS for suffix in _SUFFIXES),
)  # fmt: skip
ACCOUNT_FIELDS = (
    "PortNumber", "AccNumber", "PolNumber", "LayerNumber", "AccCurrency", "PolPerilsCovered", "PolPeril", "CondPeril",
    "AccPeril", "PolInceptionDate", "PolExpiryDate", "CondTag", "CondNumber", "CondPriority", "CondClass",
    "LayerParticipation", "LayerLimit", "LayerAttachment", "AccParticipation", "StepTriggerType", "StepNumber",
    "CedantName", "ProducerName", "LOB", *(f"Acc{term}6All" for term in _TERMS),
    *(f"{level}{term}{suffix}" for level in ("Pol", "Cond") for term in _TERMS for suffix in _SUFFIXES),
)  # fmt: skip


class NoRate(InvalidInput):
    """There is no exchange rate for these currencies."""


class UnclearTerms(InvalidInput):
    """The terms can be read in more than one way."""


@dataclass(frozen=True)
class Rates:
    """Exchange rates: one unit of the first currency is so many of the second."""

    rates: Mapping[tuple[str, str], float]

    def to(self, source: str, target: str) -> float:
        """The rate, or the inverse of the opposite one; raises NoRate."""
        if source == target:
            return 1.0
        if (source, target) in self.rates:
            return self.rates[(source, target)]
        if (target, source) in self.rates:
            return 1.0 / self.rates[(target, source)]
        raise NoRate(f"there is no rate from {source or 'a blank currency'} to {target}: give --rates")


@dataclass(frozen=True)
class Raw:
    """Terms of the rows of a file at one level and suffix as they came; amounts converted."""

    deductible: FloatArray
    deductible_type: IntArray  #: 0 amount, 1 of loss, 2 of TIV, 3 days
    deductible_code: IntArray
    min_deductible: FloatArray
    max_deductible: FloatArray  #: 0: none
    limit: FloatArray  #: 0: none
    limit_type: IntArray

    def resolve(self, tiv: FloatArray, index: IntArray, n_risks: FloatArray | None = None) -> Terms:
        """Terms of nodes whose file rows are `index` and whose insured values are `tiv`, both (n_nodes,).

        With `n_risks` equal risks in a node, minimum and maximum beside a deductible that is no amount hold for each.
        """
        ded, kind = self.deductible[index], np.where(self.deductible[index] == 0, 0, self.deductible_type[index])
        ded = np.where(kind == 2, ded * tiv, np.where(kind == 3, ded * tiv / DAYS_OF_YEAR, ded))
        lim, lim_kind = self.limit[index], np.where(self.limit[index] == 0, 0, self.limit_type[index])
        lim = np.where(lim_kind == 2, lim * tiv, np.where(lim_kind == 3, lim * tiv / DAYS_OF_YEAR, lim))
        low, high = self.min_deductible[index], self.max_deductible[index]
        if n_risks is not None:
            times = np.where(kind != 0, n_risks, 1.0)
            low, high = low * times, high * times
        return Terms(
            deductible=ded,
            deductible_of_loss=kind == 1,
            deductible_code=np.where(self.deductible[index] == 0, 0, self.deductible_code[index]).astype(np.int8),
            min_deductible=low,
            max_deductible=np.where(high > 0, high, np.inf),
            limit=np.where(self.limit[index] > 0, lim, np.inf),
            limit_of_loss=lim_kind == 1,
            share=np.ones(len(index)),
        )

    def columns(self) -> list[FloatArray]:
        return [getattr(self, name).astype(np.float64) for name in self.__dataclass_fields__]


def read_raw(table: OedTable, level: str, suffix: str, rate: FloatArray) -> Raw | None:
    """The terms at a level, or None where the file has none there; faults become bad rows of the table."""

    def name(term: str) -> str:
        return f"{level}{term}{suffix}"

    if not any(table.has(name(term)) for term in ("Ded", "MinDed", "MaxDed", "Limit")):
        return None
    kinds = (0, 1, 2, 3)
    ded, kind = table.numbers(name("Ded")), table.whole(name("DedType"), of=kinds)
    lim, lim_kind = table.numbers(name("Limit")), table.whole(name("LimitType"), of=kinds)
    low, high = table.numbers(name("MinDed")), table.numbers(name("MaxDed"))
    if not (ded.any() or lim.any() or low.any() or high.any()):
        return None
    code, lim_code = table.whole(name("DedCode")), table.whole(name("LimitCode"))
    _refuse(table, (ded > 0) & ~np.isin(code, (0, 2, 99)), name("DedCode"), code,
            "is a kind of deductible that is not computed here (0 regular, 2 franchise)")  # fmt: skip
    _refuse(table, (lim > 0) & (lim_code != 0), name("LimitCode"), lim_code,
            "is a kind of limit that is not computed here (0 regular); aggregate limits: tocsin ep")  # fmt: skip
    _refuse(table, np.isin(kind, (1, 2)) & (ded > 1), name("Ded"), ded, "is a share of more than 1")
    _refuse(table, (lim_kind == 1) & (lim > 1), name("Limit"), lim, "is a share of more than 1")
    _refuse(table, (high > 0) & (low > high), name("MinDed"), low, "is more than the maximum deductible")
    _refuse(table, (ded > 0) & (code != 0) & ((low > 0) | (high > 0)), name("DedCode"), code,
            "cannot stand beside a minimum or maximum deductible")  # fmt: skip
    return Raw(
        deductible=np.where(kind == 0, ded * rate, ded),
        deductible_type=kind,
        deductible_code=code,
        min_deductible=low * rate,
        max_deductible=high * rate,
        limit=np.where(lim_kind == 0, lim * rate, lim),
        limit_type=lim_kind,
    )


def _refuse(table: OedTable, wrong: BoolArray, name: str, values: Any, why: str) -> None:
    for row in np.flatnonzero(wrong).tolist():
        table.refuse(row, name, f"{values[row]:g} {why}")


@dataclass(frozen=True)
class TermsBook:
    """A book ready for footprints: items, policy rows, and the programme between them."""

    location: OedTable
    account: OedTable
    currency: str
    item_row: IntArray  #: (n_items,) row of the location file
    item_coverage: IntArray  #: (n_items,) 0 buildings, 1 other, 2 contents, 3 BI
    item_tiv: FloatArray
    row_item: IntArray
    row_policy: IntArray  #: (n_rows,) policy of each row
    policy_row: IntArray  #: (n_policies,) row of the account file
    programme: Programme
    left_out: Mapping[str, tuple[int, float]]  #: reason -> (locations, insured value in the book's currency)
    n_locations: int

    @property
    def n_rows(self) -> int:
        return len(self.row_item)

    @property
    def row_location(self) -> IntArray:
        """(n_rows,) row of the location file."""
        found: IntArray = self.item_row[self.row_item]
        return found


def rates_of(table: OedTable, name: str, target: str, rates: Rates) -> FloatArray:
    """(n,) factor to the target currency; a row without a rate is bad."""
    codes, known = _codes(table, name)
    factor = np.ones(len(known))
    for code, text in enumerate(known):
        try:
            factor[code] = rates.to(text.upper() or target, target)
        except NoRate as error:
            for row in np.flatnonzero(codes == code).tolist():
                table.refuse(row, name, str(error))
    found: FloatArray = factor[codes]
    return found


def _codes(table: OedTable, name: str) -> tuple[IntArray, list[str]]:
    (codes,), known = encode(table.texts(name))
    return codes, known


def _covered(table: OedTable, name: str, peril: str | None) -> BoolArray:
    """(n,) whether the field covers the peril; blank covers. An unknown code is a bad row."""
    if not table.has(name):
        return np.ones(table.n, dtype=bool)
    codes, known = _codes(table, name)
    answer = np.ones(len(known), dtype=bool)
    for code, text in enumerate(known):
        try:
            answer[code] = covers(text, peril, field=name)
        except InvalidInput as error:
            for row in np.flatnonzero(codes == code).tolist():
                table.refuse(row, name, str(error).removeprefix(f"{name}: "))
    found: BoolArray = answer[codes]
    return found


def _days(table: OedTable, name: str) -> list[date | None]:
    """(n,) dates; unreadable ones are bad rows."""
    if not table.has(name):
        return [None] * table.n
    codes, known = _codes(table, name)
    days: list[date | None] = []
    for code, text in enumerate(known):
        try:
            days.append(date.fromisoformat(text[:10]) if text else None)
        except ValueError:
            days.append(None)
            for row in np.flatnonzero(codes == code).tolist():
                table.refuse(row, name, f"{text!r} is not a date as 2026-01-31")
    return [days[code] for code in codes.tolist()]


def build(
    location: OedTable,
    account: OedTable,
    *,
    peril: str | None = None,
    event_date: date | None = None,
    currency: str | None = None,
    rates: Rates | None = None,
) -> TermsBook:
    """The book of a location and an account file; raises BadOedRows (line, field, reason) and UnclearTerms.

    `peril` (an OED code) leaves out locations and policies that do not cover it and terms of other perils.
    `event_date` leaves out policies that are not in force on that day.
    """
    _require(location, ("AccNumber", "LocNumber"), TIV_FIELDS)
    _require(account, ("AccNumber",), ())
    rates = rates or Rates({})
    used = {text.upper() for text in pc.unique(location.texts("LocCurrency")).to_pylist() if text}
    used |= {text.upper() for text in pc.unique(account.texts("AccCurrency")).to_pylist() if text}
    if currency is None:
        if len(used) > 1:
            raise UnclearTerms(f"amounts are in {', '.join(sorted(used))}: give --currency and --rates")
        currency = next(iter(used), "")
    loc_rate = rates_of(location, "LocCurrency", currency, rates)
    acc_rate = rates_of(account, "AccCurrency", currency, rates)

    (loc_port, acc_port), _ = encode(location.texts("PortNumber"), account.texts("PortNumber"))
    (loc_acc, acc_acc), _ = encode(location.texts("AccNumber"), account.texts("AccNumber"))
    (loc_account, acc_account), n_accounts = joint((loc_port, loc_acc), (acc_port, acc_acc))
    known = np.zeros(n_accounts, dtype=bool)
    known[acc_account] = True
    names = location.texts("AccNumber")
    for row in np.flatnonzero(~known[loc_account]).tolist():
        location.refuse(row, "AccNumber", f"account {names[row].as_py()!r} is not in {account.path.name}")

    first, tags = _places(location, loc_account)
    covered = _covered(location, "LocPerilsCovered", peril)
    tiv = np.stack([location.numbers(name) * loc_rate for name in TIV_FIELDS], axis=1)
    n_buildings = np.maximum(location.numbers("NumberOfBuildings", 1.0), 1.0)
    aggregate = location.whole("IsAggregate", of=(0, 1)) == 1
    policies = _Policies.read(account, acc_account, acc_rate, n_accounts, peril, event_date)
    site_raw = _site_raw(location, loc_rate, peril)
    location.check()
    account.check()

    counted = first & covered
    left_out: dict[str, tuple[int, float]] = {}
    if (first & ~covered).any():
        lost = first & ~covered
        left_out[f"LocPerilsCovered does not name {peril}"] = (int(lost.sum()), float(tiv[lost].sum()))
    if (nothing := counted & ~(tiv > 0).any(axis=1)).any():
        left_out["no insured value"] = (int(nothing.sum()), 0.0)
    loc_of_item, coverage = np.nonzero((tiv > 0) & counted[:, None])
    item_tiv = tiv[loc_of_item, coverage]
    site = _site_levels(site_raw, loc_of_item, coverage, item_tiv, np.where(aggregate, n_buildings, 1.0))

    of_item = loc_account[loc_of_item]
    counts = policies.count[of_item]
    row_item = np.repeat(np.arange(len(loc_of_item)), counts)
    offset = np.arange(len(row_item)) - np.repeat(np.cumsum(counts) - counts, counts)
    row_policy = policies.start[of_item][row_item] + offset
    paid = policies.answers[row_policy]
    levels = policies.levels(
        row_policy, coverage[row_item], item_tiv[row_item], loc_of_item[row_item], tags, location, paid
    )
    for reason, n in policies.silent.items():
        left_out[reason] = (n, float("nan"))
    programme = Programme(len(loc_of_item), row_item, tuple(site), tuple(levels), paid)
    return TermsBook(
        location, account, currency, loc_of_item, coverage, item_tiv, row_item, row_policy, policies.row, programme,
        left_out, int(first.sum()),
    )  # fmt: skip


def _require(table: OedTable, names: Iterable[str], any_of: Sequence[str]) -> None:
    missing = [name for name in names if not table.has(name)]
    if missing:
        raise InvalidInput(f"{table.path.name}: the header lacks {', '.join(missing)}")
    if any_of and not any(table.has(name) for name in any_of):
        raise InvalidInput(f"{table.path.name}: the header has none of {', '.join(any_of)}")


def _places(location: OedTable, account: IntArray) -> tuple[BoolArray, list[tuple[int, int]]]:
    """Which rows are the first of their location, and (first row, tagged row) for every row with a CondTag.

    A location stands on several lines only to carry several special conditions.
    """
    (number,), _ = encode(location.texts("LocNumber"))
    (key,), n = joint((account, number))
    first_of = np.full(n, location.n, dtype=np.int64)
    np.minimum.at(first_of, key, np.arange(location.n))
    first = first_of[key] == np.arange(location.n)
    has_tags = location.has("CondTag")
    tag_codes, tag_texts = _codes(location, "CondTag") if has_tags else (np.zeros(location.n, np.int64), [""])
    blank = np.array([text in ("", "0") for text in tag_texts])
    seen: set[tuple[int, int]] = set()
    texts = location.texts("LocNumber")
    for row in np.flatnonzero(~first).tolist():
        home = int(first_of[key[row]])
        if not seen:
            seen.update((int(first_of[key[r]]), int(tag_codes[r])) for r in np.flatnonzero(first).tolist())
        if (home, int(tag_codes[row])) in seen:
            location.refuse(row, "LocNumber", f"location {texts[row].as_py()!r} of this account stands there before")
        seen.add((home, int(tag_codes[row])))
    tagged = np.flatnonzero(~blank[tag_codes])
    return first, [(int(first_of[key[row]]), int(row)) for row in tagged.tolist()]


def _site_raw(location: OedTable, rate: FloatArray, peril: str | None) -> dict[str, Raw]:
    answers = _covered(location, "LocPeril", peril)
    amounts = np.where(answers, rate, 0.0)
    found: dict[str, Raw] = {}
    if location.has("BIWaitingPeriod") or location.has("BIPOI"):
        wait, kind = location.numbers("BIWaitingPeriod"), location.whole("BIWaitingPeriodType", 3, of=(0, 1, 2, 3))
        period, period_kind = location.numbers("BIPOI"), location.whole("BIPOIType", 3, of=(0, 1, 2, 3))
        if wait.any() or period.any():
            zero = np.zeros(location.n)
            found["item"] = Raw(
                np.where(kind == 0, wait * rate, wait), kind, zero.astype(np.int64), zero, zero,
                np.where(period_kind == 0, period * rate, period), period_kind,
            )  # fmt: skip
    for suffix in _SUFFIXES:
        raw = read_raw(location, "Loc", suffix, amounts if not answers.all() else rate)
        if raw is not None:
            found[suffix] = raw if answers.all() else _silenced(raw, answers)
    return found


def _silenced(raw: Raw, answers: BoolArray) -> Raw:
    """Terms that hold for a peril, without those of rows that name another one."""
    return Raw(**{name: getattr(raw, name) * answers for name in Raw.__dataclass_fields__})


def _site_levels(
    raws: Mapping[str, Raw], place: IntArray, coverage: IntArray, tiv: FloatArray, n_risks: FloatArray
) -> list[Level]:
    levels: list[Level | None] = []
    item = np.arange(len(place))
    if "item" in raws:
        terms = raws["item"].resolve(tiv, place)
        levels.append(Level.make("BI period", np.where(coverage == 3, item, -1), terms, by_layer=True))
    parts, node = [], np.full(len(place), -1, dtype=np.int64)
    n = 0
    for number, suffix in enumerate(COVERAGES):
        if suffix in raws:
            at = np.flatnonzero(coverage == number)
            node[at] = n + np.arange(len(at))
            parts.append(raws[suffix].resolve(tiv[at], place[at], n_risks[place[at]]))
            n += len(at)
    if parts:
        levels.append(Level.make("site coverage", node, stack(parts)))
    for name, suffix, inside in (("site PD", "5PD", coverage < 3), ("site all", "6All", coverage < 4)):
        if suffix in raws:
            places, index = np.unique(place, return_inverse=True)
            value = sums(index, tiv * inside, len(places))
            terms = raws[suffix].resolve(value, places, n_risks[places])
            levels.append(Level.make(name, np.where(inside, index, -1), terms))
    return [level for level in levels if level is not None]


@dataclass
class _Policies:
    """Policies (account, PolNumber, LayerNumber), sorted by account, with their terms."""

    table: OedTable
    row: IntArray  #: (n,) row of the account file that carries the policy's terms
    account: IntArray
    start: IntArray  #: (n_accounts,) first policy of an account
    count: IntArray  #: (n_accounts,)
    of_row: IntArray  #: (rows of the account file,) its policy, -1 where it was folded into another
    account_of_row: IntArray
    account_row: IntArray  #: (n_accounts,) row with the account's own terms, -1
    answers: BoolArray  #: (n,) whether it covers the peril on the day
    silent: dict[str, int]
    raw: dict[str, dict[str, Raw]]
    rate: FloatArray
    cond_answers: BoolArray

    @classmethod
    def read(
        cls,
        table: OedTable,
        account: IntArray,
        rate: FloatArray,
        n_accounts: int,
        peril: str | None,
        event_date: date | None,
    ) -> "_Policies":
        if table.has("StepTriggerType") and table.has("StepNumber"):
            for row in np.flatnonzero(table.numbers("StepNumber") > 0).tolist():
                table.refuse(row, "StepNumber", "step policies are not computed here")
        (pol, layer), _ = encode(table.texts("PolNumber"), table.texts("LayerNumber", "1"))
        (key,), n_keys = joint((account, pol, layer))
        pol_answers = _covered(table, "PolPeril", peril)
        raw = {
            level: {
                suffix: found
                for suffix in (_SUFFIXES if level != "Acc" else ("6All",))
                if (found := read_raw(table, level, suffix, rate)) is not None
            }
            for level in ("Cond", "Pol", "Acc")
        }
        raw["Pol"] = {suffix: _silenced(found, pol_answers) for suffix, found in raw["Pol"].items()}
        acc_answers = _covered(table, "AccPeril", peril)
        raw["Acc"] = {suffix: _silenced(found, acc_answers) for suffix, found in raw["Acc"].items()}

        rows = np.arange(table.n)
        # among the rows of a policy, one whose PolPeril names the peril carries the terms
        best = np.full(n_keys, 2 * table.n, dtype=np.int64)
        np.minimum.at(best, key, rows + np.where(pol_answers, 0, table.n))
        chosen = best % table.n
        _agree(table, key, chosen, pol_answers, raw["Pol"], "PolPeril", peril)
        layer_terms = np.stack(
            [table.numbers("LayerAttachment"), table.numbers("LayerLimit"),
             table.numbers("LayerParticipation", 1.0, high=1.0)], axis=1,
        )  # fmt: skip
        for row in np.flatnonzero((layer_terms != layer_terms[chosen[key]]).any(axis=1)).tolist():
            table.refuse(row, "LayerNumber", "the layer has other terms on another line")
        table.numbers("AccParticipation", 1.0, high=1.0)

        sort = np.lexsort((chosen, account[chosen]))
        number = np.empty(n_keys, dtype=np.int64)
        number[sort] = np.arange(n_keys)
        carrier: IntArray = chosen[sort]
        answers, silent = _in_force(table, carrier, peril, event_date)
        of_row = number[key]
        acc_row = np.full(n_accounts, table.n * 2, dtype=np.int64)
        np.minimum.at(acc_row, account, rows + np.where(acc_answers, 0, table.n))
        _agree(table, account, np.minimum(acc_row, table.n * 2 - 1) % table.n, acc_answers, raw["Acc"], "AccPeril",
               peril)  # fmt: skip
        made = cls(
            table, carrier, account[carrier], np.zeros(n_accounts, np.int64), np.zeros(n_accounts, np.int64), of_row,
            account,
            np.where(acc_row < 2 * table.n, acc_row % table.n, -1), answers, silent, raw, rate,
            _covered(table, "CondPeril", peril),
        )  # fmt: skip
        made._fold(layer_terms)
        made.count = np.bincount(made.account, minlength=n_accounts).astype(np.int64)
        made.start = np.cumsum(made.count) - made.count
        return made

    def _fold(self, layer_terms: FloatArray) -> None:
        """Several policies of an account with the same terms and no layer are one: they are not paid twice."""
        n = len(self.row)
        if n < 2 or not (self.account[1:] == self.account[:-1]).any():
            return
        ids = self.account
        layered = np.zeros(int(ids.max()) + 1, dtype=bool)
        busy = (layer_terms[self.row] != np.array([0.0, 0.0, 1.0])).any(axis=1)
        layered[ids[busy]] = True
        columns = [c[self.row] for raw in self.raw["Pol"].values() for c in raw.columns()]
        columns.append(self.answers.astype(np.float64))
        first = np.searchsorted(ids, ids)
        same = np.ones(n, dtype=bool)
        for column in columns:
            same &= column == column[first]
        differs = np.zeros_like(layered)
        differs[ids[~same]] = True
        if self.raw["Cond"]:
            differs[:] = True
        drop = (np.arange(n) != first) & ~layered[ids] & ~differs[ids]
        if not drop.any():
            return
        number = np.cumsum(~drop) - 1
        number = np.where(drop, -1, number)
        self.of_row = number[self.of_row]
        self.silent["policies without layers or terms of their own beside an equal one"] = int(drop.sum())
        self.row, self.account, self.answers = self.row[~drop], self.account[~drop], self.answers[~drop]

    def levels(
        self,
        policy: IntArray,
        coverage: IntArray,
        tiv: FloatArray,
        place: IntArray,
        tags: list[tuple[int, int]],
        location: OedTable,
        paid: BoolArray,
    ) -> list[Level]:
        """The levels above the site, in order, over rows (item and policy). Clears `paid` where a policy excludes."""
        levels: list[Level | None] = []
        if self.raw["Cond"] or self.table.has("CondTag"):
            levels += self._conditions(policy, coverage, tiv, place, tags, location, paid)
        levels += self._group("Pol", "policy", policy, len(self.row), self.row, coverage, tiv)
        attachment = self.table.numbers("LayerAttachment")[self.row] * self.rate[self.row]
        limit = self.table.numbers("LayerLimit")[self.row] * self.rate[self.row]
        share = self.table.numbers("LayerParticipation", 1.0)[self.row]
        terms = with_columns(
            Terms.none(len(self.row)),
            deductible=attachment,
            limit=np.where(limit > 0, limit, np.inf),
            share=share,
        )
        levels.append(Level.make("layer", policy, terms, by_layer=True))
        account = self.account[policy]
        n = len(self.account_row)
        share = self.table.numbers("AccParticipation", 1.0)[np.maximum(self.account_row, 0)]
        if "6All" in self.raw["Acc"] or (share != 1).any():
            value = sums(account, tiv * (policy == self.start[account]), n)
            raw = self.raw["Acc"].get("6All")
            row = np.maximum(self.account_row, 0)
            terms = raw.resolve(value, row) if raw is not None else Terms.none(n)
            levels.append(Level.make("account", account, with_columns(terms, share=share)))
        return [level for level in levels if level is not None]

    def _group(
        self,
        level: str,
        name: str,
        node: IntArray,
        n: int,
        row: IntArray,
        coverage: IntArray,
        tiv: FloatArray,
    ) -> list[Level | None]:
        """The three levels coverage, PD, all of conditions or policies; node -1 takes no part."""
        raws = self.raw[level]
        found: list[Level | None] = []
        inside = node >= 0
        if any(suffix in raws for suffix in COVERAGES):
            parts: list[Terms] = []
            at = np.full(len(node), -1, dtype=np.int64)
            for number, suffix in enumerate(COVERAGES):
                if suffix in raws:
                    mine = inside & (coverage == number)
                    at[mine] = node[mine] + n * len(parts)
                    value = sums(node[mine], tiv[mine], n)
                    parts.append(raws[suffix].resolve(value, row))
            found.append(Level.make(f"{name} coverage", at, stack(parts)))
        for suffix, highest in (("5PD", 3), ("6All", 4)):
            if suffix in raws:
                mine = inside & (coverage < highest)
                value = sums(node[mine], tiv[mine], n)
                label = f"{name} {'PD' if suffix == '5PD' else 'all'}"
                found.append(Level.make(label, np.where(mine, node, -1), raws[suffix].resolve(value, row)))
        return found

    def _conditions(
        self,
        policy: IntArray,
        coverage: IntArray,
        tiv: FloatArray,
        place: IntArray,
        tags: list[tuple[int, int]],
        location: OedTable,
        paid: BoolArray,
    ) -> list[Level | None]:
        """Special conditions, innermost first: by CondPriority, each over the tagged locations of one policy."""
        (loc_tag, acc_tag), texts = encode(location.texts("CondTag", "0"), self.table.texts("CondTag", "0"))
        none = texts.index("0") if "0" in texts else -1
        of_account = self.account_of_row
        priority = self.table.numbers("CondPriority", 1.0)
        rank: dict[tuple[int, int], float] = {}
        row_of: dict[tuple[int, int], int] = {}
        closed: set[int] = set()
        cond_class = self.table.whole("CondClass")
        for row in range(self.table.n):
            tag, owner = int(acc_tag[row]), int(self.of_row[row])
            key = (int(of_account[row]), tag)
            rank.setdefault(key, priority[row] or 1.0)
            if owner >= 0 and (owner, tag) not in row_of:
                row_of[(owner, tag)] = row
            if cond_class[row] == 1 and owner >= 0:
                closed.add(owner)
        chains: dict[int, list[tuple[int, int]]] = {}
        owner_of = {}
        account_of_place = dict(zip(place.tolist(), self.account[policy].tolist(), strict=True))
        for home, row in tags:
            if home not in account_of_place:
                continue
            key = (account_of_place[home], int(loc_tag[row]))
            if key not in rank:
                location.refuse(row, "CondTag", f"{texts[key[1]]!r} is no condition of this account")
                continue
            if key not in chains.setdefault(home, []):
                chains[home].append(key)
            owner_of[home] = key[0]
        location.check()
        depth: dict[tuple[int, int], int] = {}
        for home, keys in chains.items():
            keys.sort(key=lambda k: rank[k])
            if len({rank[k] for k in keys}) < len(keys):
                raise UnclearTerms(
                    f"location {location.texts('LocNumber')[home].as_py()!r}: two special conditions have the same "
                    "CondPriority"
                )
        moved = True
        while moved:
            moved = False
            for keys in chains.values():
                level = 0
                for key in keys:
                    level = max(level + 1, depth.get(key, 0))
                    if depth.get(key, 0) != level:
                        depth[key], moved = level, True
        if closed:
            self._close(policy, place, chains, none, closed, row_of, paid)
        found: list[Level | None] = []
        for stage in range(1, max(depth.values(), default=0) + 1):
            tag_of_place = {home: key[1] for home, keys in chains.items() for key in keys if depth[key] == stage}
            lookup = np.full(location.n, -1, dtype=np.int64)
            for home, tag in tag_of_place.items():
                lookup[home] = tag
            tag_of: IntArray = lookup[place]
            node = np.full(len(policy), -1, dtype=np.int64)
            for i in np.flatnonzero(tag_of >= 0).tolist():
                row = row_of.get((int(policy[i]), int(tag_of[i])), -1)
                node[i] = row if row >= 0 and self.cond_answers[row] else -1
            found += self._group(
                "Cond", f"condition {stage}", node, self.table.n, np.arange(self.table.n), coverage, tiv
            )
        return found

    @staticmethod
    def _close(
        policy: IntArray,
        place: IntArray,
        chains: Mapping[int, list[tuple[int, int]]],
        none: int,
        closed: set[int],
        row_of: Mapping[tuple[int, int], int],
        paid: BoolArray,
    ) -> None:
        """A policy with a restricting condition (CondClass 1) covers only locations of the tags that it names."""
        for i in np.flatnonzero(np.isin(policy, np.array(sorted(closed)))).tolist():
            mine = [key[1] for key in chains.get(int(place[i]), [])] or [none]
            if any((int(policy[i]), tag) not in row_of for tag in mine):
                paid[i] = False


def _agree(
    table: OedTable,
    key: IntArray,
    chosen: IntArray,
    answers: BoolArray,
    raws: Mapping[str, Raw],
    name: str,
    peril: str | None,
) -> None:
    """Raises UnclearTerms where rows of one policy carry other terms for the same peril."""
    for suffix, raw in raws.items():
        for column in raw.columns():
            wrong = answers & (column != column[chosen[key]])
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                hint = f"name the event's peril with --peril, since terms differ by {name}" if peril is None else (
                    f"they differ for the same {name}"
                )  # fmt: skip
                raise UnclearTerms(
                    f"{table.path.name}: account {table.texts('AccNumber')[row].as_py()!r} has several rows with other "
                    f"terms at {suffix}: {hint}"
                )


def _in_force(
    table: OedTable, row: IntArray, peril: str | None, event_date: date | None
) -> tuple[BoolArray, dict[str, int]]:
    """Which policies answer, and how many do not for which reason."""
    silent: dict[str, int] = {}
    answers: BoolArray = _covered(table, "PolPerilsCovered", peril)[row]
    if not answers.all():
        silent[f"policies whose PolPerilsCovered does not name {peril}"] = int((~answers).sum())
    inception, expiry = _days(table, "PolInceptionDate"), _days(table, "PolExpiryDate")
    for index, (begins, ends) in enumerate(zip(inception, expiry, strict=True)):
        if begins and ends and ends < begins:
            table.refuse(index, "PolExpiryDate", f"{ends} is before the inception {begins}")
    if event_date is not None:
        outside = np.array(
            [
                ((begins := inception[r]) is not None and event_date < begins)
                or ((ends := expiry[r]) is not None and event_date > ends)
                for r in row.tolist()
            ],
            dtype=bool,
        )
        if outside.any():
            silent[f"policies not in force on {event_date}"] = int((outside & answers).sum())
            answers = answers & ~outside
    return answers, silent


def text_column(values: pa.Array, index: IntArray) -> pa.Array:
    """values[index] as an Arrow column."""
    return values.take(pa.array(index))
