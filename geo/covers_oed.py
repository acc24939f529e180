"""Covers of a year from the rows of an OED reinsurance info file, for losses of a book that are sums already.

A year loss table has no items: what answers to single risks (facultative, surplus, per-risk excess, risk limits)
cannot be told from it and is refused by name; `tocsin terms --occurrences` and `tocsin loss --model` know the items.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InvalidInput
from geo.covers import Excess, recovered, reinstatement_premium
from geo.ep import FloatArray, YearLosses
from geo.oed_table import read_table
from geo.reinsurance_oed import INFO_FIELDS, limitless, read_reinstatements, refuse_period, refuse_what_is_not_computed

_KINDS = ("CXL", "AXL", "QS")


@dataclass(frozen=True)
class Contract:
    """A contract over a whole table."""

    name: str
    priority: int
    cover: Excess


def read_contracts(path: Path) -> list[Contract]:
    """Contracts of an OED reinsurance info file, by inuring priority; raises BadOedRows with line, field and reason.

    Amounts are taken in the currency of the table. The scope is not looked at: the table is what the contracts cover.
    """
    info = read_table(path, INFO_FIELDS)
    for name in ("ReinsNumber", "ReinsType", "InuringPriority"):
        if not info.has(name):
            raise InvalidInput(f"{path.name}: the header lacks {name}")
    kinds = [text.upper() for text in info.strings("ReinsType")]
    currencies = {text.upper() for text in info.strings("ReinsCurrency")} - {""}
    if len(currencies) > 1:
        raise InvalidInput(f"{path.name}: ReinsCurrency: {', '.join(sorted(currencies))}: a table has one currency")
    priority = info.whole("InuringPriority")
    ceded = info.numbers("CededPercent", 1.0, high=1.0)
    placed = info.numbers("PlacedPercent", 1.0, high=1.0)
    columns = {
        name: info.numbers(name)
        for name in ("OccAttachment", "AggAttachment", "OccFranchiseDed", "OccReverseFranchise", "RiskLimit",
                     "RiskAttachment")
    }  # fmt: skip
    limits = {name: limitless(info.numbers(name)) for name in ("OccLimit", "AggLimit", "RiskLimit")}
    premium = info.numbers("ReinsPremium")
    reinstated = read_reinstatements(info, kinds, limits, np.ones(info.n))
    refuse_what_is_not_computed(info)
    refuse_period(info)
    for row, kind in enumerate(kinds):
        if kind not in _KINDS:
            info.refuse(row, "ReinsType", f"{kind!r} answers to single risks, which a loss table does not have")
        for name in ("RiskLimit", "RiskAttachment", "OccFranchiseDed", "OccReverseFranchise"):
            if kind in _KINDS and columns[name][row] > 0 and (name[:3] == "Occ" or kind == "QS"):
                info.refuse(row, name, "is not computed on a loss table: tocsin terms --occurrences, tocsin loss")
        if placed[row] == 0 or ceded[row] == 0:
            info.refuse(row, "PlacedPercent" if placed[row] == 0 else "CededPercent", "0 takes nothing")
        if priority[row] < 1:
            info.refuse(row, "InuringPriority", f"{priority[row]} is less than 1")
    info.check()
    names, numbers = info.strings("ReinsName"), info.strings("ReinsNumber")
    found = []
    for row in range(info.n):
        again = reinstated[row]
        cover = Excess(
            attachment=float(columns["OccAttachment"][row]) if kinds[row] != "QS" else 0.0,
            limit=float(limits["OccLimit"][row]),
            reinstatements=None if again is None else again.times,
            annual_deductible=float(columns["AggAttachment"][row]), share=float(placed[row]),
            premium=float(premium[row]), reinstatement_rates=() if again is None else again.charges,
            year_limit=float(limits["AggLimit"][row]), ceded=float(ceded[row]),
        )  # fmt: skip
        found.append(Contract(names[row] or numbers[row], int(priority[row]), cover))
    return sorted(found, key=lambda contract: contract.priority)


def apply_contracts(
    years: YearLosses, contracts: list[Contract]
) -> tuple[YearLosses, FloatArray, list[dict[str, object]]]:
    """(occurrences net of the contracts, reinstatement premium of each year, what each contract did).

    Contracts of one inuring priority look at the same losses, the next ones at what they leave.
    """
    premium = np.zeros(years.n_years)
    told: list[dict[str, object]] = []
    for priority in sorted({contract.priority for contract in contracts}):
        left = years.loss.copy()
        for contract in (c for c in contracts if c.priority == priority):
            paid = recovered(years, contract.cover)
            due = reinstatement_premium(years, contract.cover)
            left = np.maximum(left - paid.loss, 0.0)
            premium += due
            told.append(
                {"contract": contract.name, "recovered_aal": float(paid.annual().mean()),
                 "reinstatement_premium": float(due.mean())}
            )  # fmt: skip
        years = years.with_loss(left)
    return years, premium, told
