"""The tables of docs/methods/itops-experience.md: fits judged by the time after them, at every split and year.

    python -m benchmarks.itops_splits FOLDER [--only smart|systems|repairs]     # FOLDER holds itops/

SMART: fitted to what was known before a day, judged by all rows that begin on it or later. No split is unseen: the
model of levels was kept with all of them in sight (docs/methods). Systems and repairs: each year by a fit to the end of
the year before. Ratios are of seen to expected, for repairs of expected to seen.
"""

import argparse
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from itops import backtest, experience, records
from itops.telemetry import Spells, fit_telemetry

SPLITS = (
    date(2014, 7, 1), date(2014, 8, 15), date(2014, 9, 1), date(2014, 10, 1), date(2014, 11, 15), date(2014, 12, 1),
    date(2015, 1, 1), date(2015, 2, 15), date(2015, 3, 1), date(2015, 4, 1), date(2015, 5, 15), date(2015, 6, 1),
    date(2015, 7, 1), date(2015, 8, 15), date(2015, 9, 1),
)  # fmt: skip


def _taken(spells: Spells, rows: np.ndarray, **changed: np.ndarray) -> Spells:
    at = np.flatnonzero(rows)
    arrays = {
        name: getattr(spells, name)[at] for name in ("start_h", "stop_h", "failed", "weight", "values", "days_ago")
    }
    return Spells(
        model=tuple(spells.model[i] for i in at), manufacturer=tuple(spells.manufacturer[i] for i in at),
        **{**arrays, **changed},
    )  # fmt: skip


def smart(spells: Spells, last: date, split: date) -> dict[str, object]:
    """Fit before a day, judgement after it; `last` is the last day of the record."""
    day = last.toordinal() + 1 - spells.days_ago
    ago = split.toordinal() - day
    before = _taken(spells, ago > 0, days_ago=ago[ago > 0])
    limit = before.start_h + before.days_ago * 24.0
    before = replace(before, failed=before.failed & (before.stop_h <= limit), stop_h=np.minimum(before.stop_h, limit))
    after = _taken(spells, ago <= 0, days_ago=ago[ago <= 0])
    expected, years = fit_telemetry(before).expected(after)
    n = after.failed.astype(float)
    order = np.argsort(-(expected / years))
    top = order[np.cumsum(years[order]) / np.sum(years) <= 0.1]
    return {
        "split": split.isoformat(), "failures": int(np.sum(n)),
        "A/E": round(float(np.sum(n) / np.sum(expected)), 2),
        "top tenth holds": round(float(n[top].sum() / n.sum()), 2),
        "its A/E": round(float(n[top].sum() / expected[top].sum()), 2),
    }  # fmt: skip


def main() -> None:
    """Prints one JSON document a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=("smart", "systems", "repairs"))
    given = parser.parse_args()
    folder = given.folder / "itops"
    if given.only in (None, "smart"):
        text = experience.read_text(folder / "backblaze_smart_startstop_to2015.csv.gz")
        spells, _, _, last = records.read_spells(text, as_of=None, failures=True)
        assert last is not None
        rows = [smart(spells, last, split) for split in SPLITS]
        for row in rows:
            print(json.dumps(row))
        held = [row for row in rows if 0.93 <= float(str(row["A/E"])) <= 1.07]
        top = [row for row in rows if 0.8 <= float(str(row["its A/E"])) <= 1.25]
        print(json.dumps({"splits": len(rows), "total within 0.93-1.07": len(held), "top within 0.8-1.25": len(top)}))
    failures = experience.read_text(folder / "lanl_failures.csv.gz")
    if given.only in (None, "systems"):
        for pack in backtest.fleet(failures, experience.read_text(folder / "lanl_systems.csv"), None)["origins"]:
            total = pack["total"]
            print(
                json.dumps(
                    {
                        "fitted to": pack["origin"], "A/E": round(total["ratio"], 2),
                        "band": [round(total["low"], 2), round(total["high"], 2)],
                        "inside 90 %": f"{pack['inside_90']} of {pack['n_units']}", "Gini": round(pack["gini"], 2),
                    }
                )
            )  # fmt: skip
    if given.only in (None, "repairs"):
        for pack in backtest.repairs(failures, None, (8.0,))["origins"]:
            row = pack["layers"][0]
            print(
                json.dumps(
                    {
                        "fitted to": pack["origin"], "seen h": round(row["seen_hours"], 2),
                        "expected h": round(row["expected_hours"], 2), "ratio": round(row["lev_ratio"], 2),
                        "p05-p95": [round(row["p05"], 2), round(row["p95"], 2)],
                    }
                )
            )  # fmt: skip


if __name__ == "__main__":
    main()
