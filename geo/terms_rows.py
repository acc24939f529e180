"""Fields of OED rows read for terms: amounts by currency, perils, dates, and the terms of a level as they came."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from core.errors import InvalidInput
from geo.oed_table import OedTable, encode
from geo.perils import covers
from geo.terms import BoolArray, FloatArray, IntArray, Terms

COVERAGES = ("1Building", "2Other", "3Contents", "4BI")
SUFFIXES = (*COVERAGES, "5PD", "6All")
TERMS = ("Ded", "DedCode", "DedType", "MinDed", "MaxDed", "Limit", "LimitCode", "LimitType")
DAYS_OF_YEAR = 365.0
_CODES = (0, 1, 2, 3, 99)
#: Deductible codes of OED that say too little to be computed, and why.
_NOT_COMPUTED = {
    4: "is a residual deductible: it follows a maximum annual aggregate deductible, for which OED has no field",
    5: "is the deductible of a CEA Homeowners policy, whose working OED does not define",
    6: "is the deductible of a CEA Homeowners Choice policy, whose working OED does not define",
}


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
    limit_code: IntArray  #: 1: of the year's sum

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
            limit_annual=(self.limit_code[index] == 1) & (self.limit[index] > 0),
            share=np.ones(len(index)),
        )

    @property
    def busy(self) -> BoolArray:
        """(rows,) whether a row has terms here."""
        found: BoolArray = (
            (self.deductible > 0) | (self.limit > 0) | (self.min_deductible > 0) | (self.max_deductible > 0)
        )
        return found

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
    for wrong, why in _NOT_COMPUTED.items():
        refuse_where(table, (ded > 0) & (code == wrong), name("DedCode"), code, why)
    refuse_where(table, (ded > 0) & ~np.isin(code, (*_CODES, *_NOT_COMPUTED)), name("DedCode"), code,
            "is no deductible code of OED")  # fmt: skip
    refuse_where(table, (lim > 0) & ~np.isin(lim_code, (0, 1)), name("LimitCode"), lim_code,
            "is no limit code of OED (0 regular, 1 annual aggregate)")  # fmt: skip
    refuse_where(table, np.isin(kind, (1, 2)) & (ded > 1), name("Ded"), ded, "is a share of more than 1")
    refuse_where(table, (lim_kind == 1) & (lim > 1), name("Limit"), lim, "is a share of more than 1")
    refuse_where(table, (high > 0) & (low > high), name("MinDed"), low, "is more than the maximum deductible")
    bounds = (low > 0) | (high > 0)
    refuse_where(table, (ded > 0) & ~np.isin(code, (0, 3)) & bounds, name("DedCode"), code,
            "cannot stand beside a minimum or maximum deductible")  # fmt: skip
    refuse_where(table, (lim > 0) & (lim_code == 1) & (lim_kind == 1) & bounds, name("LimitCode"), lim_code,
            "as a share of the loss cannot stand beside a minimum or maximum deductible")  # fmt: skip
    return Raw(
        deductible=np.where(kind == 0, ded * rate, ded),
        deductible_type=kind,
        deductible_code=code,
        min_deductible=low * rate,
        max_deductible=high * rate,
        limit=np.where(lim_kind == 0, lim * rate, lim),
        limit_type=lim_kind,
        limit_code=lim_code,
    )


def refuse_where(table: OedTable, wrong: BoolArray, name: str, values: Any, why: str) -> None:
    for row in np.flatnonzero(wrong).tolist():
        table.refuse(row, name, f"{values[row]:g} {why}")


def rates_of(table: OedTable, name: str, target: str, rates: Rates) -> FloatArray:
    """(n,) factor to the target currency; a row without a rate is bad."""
    codes, known = codes_of(table, name)
    factor = np.ones(len(known))
    for code, text in enumerate(known):
        try:
            factor[code] = rates.to(text.upper() or target, target)
        except NoRate as error:
            for row in np.flatnonzero(codes == code).tolist():
                table.refuse(row, name, str(error))
    found: FloatArray = factor[codes]
    return found


def codes_of(table: OedTable, name: str) -> tuple[IntArray, list[str]]:
    (codes,), known = encode(table.texts(name))
    return codes, known


def covered(table: OedTable, name: str, peril: str | None) -> BoolArray:
    """(n,) whether the field covers the peril; blank covers. An unknown code is a bad row."""
    if not table.has(name):
        return np.ones(table.n, dtype=bool)
    codes, known = codes_of(table, name)
    answer = np.ones(len(known), dtype=bool)
    for code, text in enumerate(known):
        try:
            answer[code] = covers(text, peril, field=name)
        except InvalidInput as error:
            for row in np.flatnonzero(codes == code).tolist():
                table.refuse(row, name, str(error).removeprefix(f"{name}: "))
    found: BoolArray = answer[codes]
    return found


def days_of(table: OedTable, name: str) -> list[date | None]:
    """(n,) dates; unreadable ones are bad rows."""
    if not table.has(name):
        return [None] * table.n
    codes, known = codes_of(table, name)
    days: list[date | None] = []
    for code, text in enumerate(known):
        try:
            days.append(date.fromisoformat(text[:10]) if text else None)
        except ValueError:
            days.append(None)
            for row in np.flatnonzero(codes == code).tolist():
                table.refuse(row, name, f"{text!r} is not a date as 2026-01-31")
    return [days[code] for code in codes.tolist()]


def silenced(raw: Raw, answers: BoolArray) -> Raw:
    """Terms that hold for a peril, without those of rows that name another one."""
    return Raw(**{name: getattr(raw, name) * answers for name in Raw.__dataclass_fields__})
