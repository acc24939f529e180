"""OED location and account files to a programme of terms: which levels a book has, who meets in them, on what terms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow.compute as pc

from core.errors import InvalidInput
from geo.oed import TIV_FIELDS
from geo.oed_table import OedTable, encode, joint
from geo.terms import NON_RANKING, BoolArray, FloatArray, IntArray, Level, Programme, Terms, stack, sums, with_columns
from geo.terms_policies import Policies
from geo.terms_rows import (
    COVERAGES,
    SUFFIXES,
    TERMS,
    Rates,
    Raw,
    UnclearTerms,
    codes_of,
    covered,
    rates_of,
    read_raw,
    silenced,
)

LOCATION_FIELDS = (
    "PortNumber", "AccNumber", "LocNumber", "LocPerilsCovered", "LocPeril", "LocCurrency", "CountryCode", "LocGroup",
    "ReinsTag", "CondTag", "NumberOfBuildings", "IsAggregate", *TIV_FIELDS, "BIWaitingPeriod", "BIWaitingPeriodType",
    "BIPOI", "BIPOIType", "LocParticipation", *(f"Loc{term}{suffix}" for term in TERMS for suffix in SUFFIXES),
)  # fmt: skip


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
    assumed: Mapping[str, int]  #: what was taken for granted -> rows

    @property
    def n_rows(self) -> int:
        return len(self.row_item)

    @property
    def row_location(self) -> IntArray:
        """(n_rows,) row of the location file."""
        found: IntArray = self.item_row[self.row_item]
        return found


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
    assumed = _blank_currencies(used, currency, (location, "LocCurrency"), (account, "AccCurrency"))

    (loc_port, acc_port), _ = encode(location.texts("PortNumber"), account.texts("PortNumber"))
    if not (location.has("PortNumber") and account.has("PortNumber")):
        loc_port, acc_port = np.zeros_like(loc_port), np.zeros_like(acc_port)
    (loc_acc, acc_acc), _ = encode(location.texts("AccNumber"), account.texts("AccNumber"))
    (loc_account, acc_account), n_accounts = joint((loc_port, loc_acc), (acc_port, acc_acc))
    known = np.zeros(n_accounts, dtype=bool)
    known[acc_account] = True
    names, ports = location.texts("AccNumber"), location.texts("PortNumber")
    for row in np.flatnonzero(~known[loc_account]).tolist():
        of = f" of portfolio {ports[row].as_py()!r}" if location.has("PortNumber") else ""
        location.refuse(row, "AccNumber", f"account {names[row].as_py()!r}{of} is not in {account.path.name}")

    first, tags = _places(location, loc_account, peril)
    answers = covered(location, "LocPerilsCovered", peril)
    tiv = np.stack([location.numbers(name) * loc_rate for name in TIV_FIELDS], axis=1)
    n_buildings = np.maximum(location.numbers("NumberOfBuildings", 1.0), 1.0)
    participation = location.numbers("LocParticipation", 1.0, high=1.0)
    aggregate = location.whole("IsAggregate", of=(0, 1)) == 1
    policies = Policies.read(account, acc_account, acc_rate, n_accounts, peril, event_date)
    site_raw = _site_raw(location, loc_rate, peril)
    location.check()
    account.check()

    counted = first & answers
    left_out: dict[str, tuple[int, float]] = {}
    if (first & ~answers).any():
        lost = first & ~answers
        left_out[f"LocPerilsCovered does not name {peril}"] = (int(lost.sum()), float(tiv[lost].sum()))
    if (nothing := counted & ~(tiv > 0).any(axis=1)).any():
        left_out["no insured value"] = (int(nothing.sum()), 0.0)
    bare = known.copy()
    bare[loc_account] = False
    if bare.any():
        left_out["accounts without a location"] = (int(bare.sum()), float("nan"))
    loc_of_item, coverage = np.nonzero((tiv > 0) & counted[:, None])
    item_tiv = tiv[loc_of_item, coverage]
    site = _site_levels(site_raw, loc_of_item, coverage, item_tiv, np.where(aggregate, n_buildings, 1.0), participation)
    if (none := counted & (participation == 0)).any():
        left_out["LocParticipation is 0: nothing insured"] = (int(none.sum()), float(tiv[none].sum()))

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
    _refuse_unclear(programme)
    assumed |= policies.assumed
    if programme.annual:
        n_annual = sum(int(level.terms.annual.sum()) for level in (*programme.site, *programme.policy))
        assumed["annual aggregate deductibles and limits: a single event is the first of its year"] = n_annual
    return TermsBook(
        location, account, currency, loc_of_item, coverage, item_tiv, row_item, row_policy, policies.row, programme,
        left_out, int(first.sum()), assumed,
    )  # fmt: skip


def _refuse_unclear(programme: Programme) -> None:
    """Raises UnclearTerms for codes that cannot stand in a book with minimum or maximum deductibles."""
    if not programme.bounded:
        return
    for level in (*programme.site, *programme.policy):
        if (level.terms.deductible_code == NON_RANKING).any():
            raise UnclearTerms(
                f"{level.name}: a non-ranking deductible (code 3) stands in a book with minimum or maximum "
                "deductibles, and OED does not say which of them it is not to count towards"
            )
        if (level.terms.limit_annual & level.terms.limit_of_loss).any():
            raise UnclearTerms(
                f"{level.name}: an annual aggregate limit that is a share of the loss is not computed in a book with "
                "minimum or maximum deductibles"
            )


def _require(table: OedTable, names: Iterable[str], any_of: Sequence[str]) -> None:
    missing = [name for name in names if not table.has(name)]
    if missing:
        raise InvalidInput(f"{table.path.name}: the header lacks {', '.join(missing)}")
    if any_of and not any(table.has(name) for name in any_of):
        raise InvalidInput(f"{table.path.name}: the header has none of {', '.join(any_of)}")


def _blank_currencies(used: set[str], currency: str, *columns: tuple[OedTable, str]) -> dict[str, int]:
    """What a blank currency was taken for; where the files have several it is a bad row."""
    assumed: dict[str, int] = {}
    for table, name in columns:
        blank = np.array(pc.equal(table.texts(name), "").to_numpy(zero_copy_only=False), dtype=bool)
        if not blank.any() or not used:
            continue
        if len(used) > 1:
            for row in np.flatnonzero(blank).tolist():
                table.refuse(row, name, f"it is empty, and the files have amounts in {', '.join(sorted(used))}")
        else:
            only = next(iter(used))
            assumed[f"{name} is blank: taken as {only}"] = int(blank.sum())
    return assumed


def _places(location: OedTable, account: IntArray, peril: str | None) -> tuple[BoolArray, list[tuple[int, int]]]:
    """Which rows are the first of their location, and (first row, tagged row) for every row with a CondTag.

    A location stands on several lines to carry several special conditions, or terms by LocPeril: the first row whose
    LocPeril names the event's peril then speaks for it.
    """
    (number,), _ = encode(location.texts("LocNumber"))
    (key,), n = joint((account, number))
    hit = covered(location, "LocPeril", peril)
    perils = codes_of(location, "LocPeril")[0] if location.has("LocPeril") else np.zeros(location.n, dtype=np.int64)
    first_of = np.full(n, 2 * location.n, dtype=np.int64)
    np.minimum.at(first_of, key, np.arange(location.n) + np.where(hit, 0, location.n))
    first_of %= location.n
    first = first_of[key] == np.arange(location.n)
    has_tags = location.has("CondTag")
    tag_codes, tag_texts = codes_of(location, "CondTag") if has_tags else (np.zeros(location.n, np.int64), [""])
    blank = np.array([text in ("", "0") for text in tag_texts])
    seen: set[tuple[int, int]] = set()
    texts = location.texts("LocNumber")
    for row in np.flatnonzero(~first).tolist():
        home = int(first_of[key[row]])
        if not hit[row]:
            continue
        if peril is None and perils[row] != perils[home]:
            location.refuse(row, "LocPeril", "terms differ by LocPeril: name the event's peril with --peril")
            continue
        if not seen:
            seen.update((int(first_of[key[r]]), int(tag_codes[r])) for r in np.flatnonzero(first).tolist())
        if (home, int(tag_codes[row])) in seen:
            location.refuse(row, "LocNumber", f"location {texts[row].as_py()!r} of this account stands there before")
        seen.add((home, int(tag_codes[row])))
    tagged = np.flatnonzero(~blank[tag_codes])
    return first, [(int(first_of[key[row]]), int(row)) for row in tagged.tolist()]


def _site_raw(location: OedTable, rate: FloatArray, peril: str | None) -> dict[str, Raw]:
    answers = covered(location, "LocPeril", peril)
    amounts = np.where(answers, rate, 0.0)
    found: dict[str, Raw] = {}
    if location.has("BIWaitingPeriod") or location.has("BIPOI"):
        wait, kind = location.numbers("BIWaitingPeriod"), location.whole("BIWaitingPeriodType", 3, of=(0, 1, 2, 3))
        period, period_kind = location.numbers("BIPOI"), location.whole("BIPOIType", 3, of=(0, 1, 2, 3))
        if wait.any() or period.any():
            zero = np.zeros(location.n)
            found["item"] = Raw(
                np.where(kind == 0, wait * rate, wait), kind, zero.astype(np.int64), zero, zero,
                np.where(period_kind == 0, period * rate, period), period_kind, zero.astype(np.int64),
            )  # fmt: skip
    for suffix in SUFFIXES:
        raw = read_raw(location, "Loc", suffix, amounts if not answers.all() else rate)
        if raw is not None:
            found[suffix] = raw if answers.all() else silenced(raw, answers)
    return found


def _site_levels(
    raws: Mapping[str, Raw], place: IntArray, coverage: IntArray, tiv: FloatArray, n_risks: FloatArray,
    participation: FloatArray,
) -> list[Level]:  # fmt: skip
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
    share = with_columns(Terms.none(len(place)), share=participation[place])
    levels.append(Level.make("site share", item, share, by_layer=True))
    return [level for level in levels if level is not None]
