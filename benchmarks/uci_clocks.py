"""Rebuilds the service-level clocks of the UCI incident log from its events and compares them with the tool's flag.

    python -m benchmarks.uci_clocks FOLDER    # that holds itops/uci_incident_event_log.csv.gz

Targets are not given in the log: for each clock and priority the one that agrees best with the flag is told.
"""

import gzip
import json
import sys
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from itops.event_log import best_target, elapsed_h, read_log
from itops.sla import WorkingCalendar, around_the_clock


def main() -> None:
    """Prints one JSON document."""
    path = Path(sys.argv[1]) / "itops" / "uci_incident_event_log.csv.gz"
    incidents = read_log(gzip.decompress(path.read_bytes()).decode())
    flag = np.array([each.flag for each in incidents])
    priority = np.array([each.priority for each in incidents])
    office = WorkingCalendar(
        version="office", zone=ZoneInfo("UTC"), week=dict.fromkeys(range(5), ((time(8), time(18)),))
    )
    table = []
    for calendar in (around_the_clock(), office):
        for to in ("restored", "closed"):
            for pauses in ("none", "user", "all"):
                hours = elapsed_h(incidents, calendar, to=to, pauses=pauses)
                found = {p: best_target(hours[priority == p], flag[priority == p]) for p in sorted(set(priority))}
                n = sum(each.n for each in found.values())
                table.append({
                    "calendar": calendar.version, "to": to, "pauses left out": pauses, "n": n,
                    "agreement": sum(each.share * each.n for each in found.values()) / n,
                    "target_h": {p: round(each.target_h, 2) for p, each in found.items()},
                    "flag made, clock missed": sum(e.n_flag_made_clock_missed for e in found.values()),
                    "flag missed, clock made": sum(e.n_flag_missed_clock_made for e in found.values()),
                })  # fmt: skip
    month = np.array([each.opened.strftime("%Y-%m") for each in incidents])
    told = {
        "n": len(incidents),
        "flag missed": int(np.count_nonzero(~flag)),
        "never resolved in the log": sum(each.restored is None for each in incidents),
        "with a pause": sum(bool(each.user_pauses or each.vendor_pauses) for each in incidents),
        "with an invalid state": sum(each.bad_state for each in incidents),
        "made by month opened": {m: round(float(np.mean(flag[month == m])), 3) for m in sorted(set(month))},
        "clocks": table,
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
