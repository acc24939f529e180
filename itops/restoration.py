"""Reads a record of repairs, fits it, prices layers of hours: the verb behind `tocsin repair`."""

import hashlib
import json
import re
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np

from core.errors import InvalidInput
from itops.fit_use import REPAIR_VERSION
from itops.records import Refusals, read_time
from itops.repair import Repair, RepairFit, fit_from, fit_repairs, price_layer
from itops.table import header_of, read_rows
from itops.underwrite import load_priors

MODEL_VERSION = REPAIR_VERSION


class BadRepairFit(InvalidInput):
    """The file is not a fit written by `tocsin repair fit`."""


def read_repairs(text: str, *, table: str = "incidents") -> tuple[list[Repair], int]:
    """(repairs in order of time, number left out) from `opened, restored, cause, site` or the LANL columns.

    LANL rows whose duration is recorded as nothing or less say nothing of a repair time and are counted as left out;
    one without an end (`fixed` and `down_min` blank) is open. Raises BadTable: an unreadable time, restored before
    opened, a blank site, one time with an offset and the other without.
    """
    header = header_of(text)
    lanl = "started" in header and "opened" not in header
    if lanl:
        found = read_rows(
            text,
            table=table,
            required=("system", "started", "fixed"),
            optional=("down_min", "cause", "hw_type", "cpu_type"),
        )
    else:
        found = read_rows(text, table=table, required=("opened", "restored", "site"), optional=("cause",))
    bad, out, left = Refusals(table), list[Repair](), 0
    for row in found.rows:
        cells = row.cells
        begin, end = ("started", "fixed") if lanl else ("opened", "restored")
        opened = read_time(bad, row, begin, utc=True)
        restored = read_time(bad, row, end, utc=True) if cells[end] else None
        if cells[begin] and cells[end] and _has_offset(cells[begin]) != _has_offset(cells[end]):
            bad.add(row, end, f"and {begin} {cells[begin]}: one has an offset and the other none")
        if lanl and cells["down_min"]:  # the log's own duration, which no clock change moves
            minutes = bad.number(row, "down_min", least=-np.inf)
            restored = None if opened is None or np.isnan(minutes) else opened + timedelta(minutes=minutes)
        if opened is not None and restored is not None and restored <= opened:
            if lanl and (cells["down_min"] or restored == opened):
                left += 1
                continue
            if restored < opened:
                bad.add(row, end, f"is before {begin} {cells[begin]}: the outage would be negative")
        site = cells["system" if lanl else "site"]
        if not site:
            bad.add(row, "system" if lanl else "site", "is blank")
        if opened is not None:
            group = f"{cells['hw_type']}/{cells['cpu_type']}" if lanl else ""
            out.append(Repair(site=site, cause=cells["cause"], opened=opened, restored=restored, group=group))
    bad.finish()
    return sorted(out, key=lambda each: (each.opened, each.site)), left


def _has_offset(cell: str) -> bool:
    return re.search(r":\d{2}.*(Z|[+-]\d{2}:?\d{2})$", cell) is not None


def fit(text: str, as_of: date | None, law: str = "auto") -> dict[str, Any]:
    """The fit as a JSON document; `law` is auto, tickets or causes.

    Without an as-of day the record is known up to its last time.
    """
    repairs, left = read_repairs(text)
    if not repairs:
        raise InvalidInput("The incidents file has no repair; use the prior")
    if as_of is None:
        # The record ends with its last opening; a restoration that it holds is known, however late.
        moment = datetime.combine(repairs[-1].opened.date() + timedelta(days=1), time.min)
    else:
        moment = datetime.combine(as_of + timedelta(days=1), time.min)
    found = fit_repairs(repairs, moment, cut=as_of is not None, law=law)
    document = asdict(found)
    document["half_life_years"] = str(found.half_life_years)  # JSON has no infinity
    for site in document["sites"]:
        for name in ("hours", "restored", "weight"):
            site[name] = site[name].tolist()
    return {
        "model_version": MODEL_VERSION,
        "inputs_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "n_repairs": sum(len(site.hours) for site in found.sites),
        "n_open": sum(int(np.count_nonzero(~site.restored)) for site in found.sites),
        "n_left_out": left,
        **document,
        "as_of": moment.isoformat(),
    }


def parse(text: str) -> RepairFit:
    """A fit from its JSON document. Raises BadRepairFit."""
    try:
        document = json.loads(text)
        if document["model_version"] != MODEL_VERSION:
            raise BadRepairFit(model_version=document["model_version"])
        return fit_from(document)
    except (ValueError, KeyError, TypeError) as error:
        raise BadRepairFit(reason=str(error)) from error


def price(fitted: RepairFit, waiting_h: float, indemnity_h: float) -> dict[str, float]:
    """p_above, expected_hours, p05 and p95 of a layer, per failure."""
    return asdict(price_layer(fitted, load_priors()[0].repair["default"].law, waiting_h, indemnity_h))
