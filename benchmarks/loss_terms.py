"""Times terms and curves, as functions for benchmarks/loss.py and alone:

    python -m benchmarks.loss_terms [--oasislmf PYTHON] [--climada PYTHON] [--locations 100000]
        [--parts terms,memory,ep]

`--oasislmf` names the interpreter of an environment with oasislmf 2.5.8 and pandas below 3, `--climada` that of one
with climada; without them our figures stand alone. Both sides are warm: the second run in one process counts.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_PEER = """
import json, sys, tempfile, time
from pathlib import Path
from oasislmf.manager import OasisManager
folder, out, times = Path(sys.argv[1]), Path(sys.argv[2]), []
for _ in range(2):
    with tempfile.TemporaryDirectory() as run:
        start = time.perf_counter()
        cpu = time.process_time()
        OasisManager().run_exposure(src_dir=str(folder), run_dir=run + "/run", loss_factor=[0.3], output_level="item",
            output_file=str(out), model_perils_covered=["WTC"], print_summary=False, portfolio_complexity=False)
        times.append([time.perf_counter() - start, time.process_time() - cpu])
print("TIMES", json.dumps(times))
"""


_CURVE_PEER = """
import json, sys, time
import numpy as np
from climada.engine import Impact
loss = np.load(sys.argv[1]); n = len(loss)
impact = Impact(event_id=np.arange(n), event_name=[str(i) for i in range(n)], date=np.ones(n, dtype=int),
    frequency=np.full(n, 1 / n), at_event=loss)
best, curve = 1e9, None
for _ in range(3):
    began = time.process_time()
    curve = impact.calc_freq_curve()
    best = min(best, time.process_time() - began)
print("FIGURE", json.dumps([best, float(curve.impact[-1]), float(np.interp(100.0, curve.return_per, curve.impact))]))
"""


def write_book(folder: Path, n: int, seed: int = 1) -> dict[str, Path]:
    """OED files of n locations in accounts of 20, with site, policy and layer terms, three coverages, four treaties."""
    rng = np.random.default_rng(seed)
    building = rng.integers(100, 2000, n) * 1000
    with (folder / "location.csv").open("w") as file:
        file.write(
            "PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,OccupancyCode,ConstructionCode,"
            "LocPerilsCovered,LocPeril,BuildingTIV,OtherTIV,ContentsTIV,BITIV,LocCurrency,LocDed1Building,LocDedType1Building,LocDed6All,"
            "LocDedType6All,LocLimit6All,LocLimitType6All\n"
        )
        file.writelines(
            f"1,A{i // 20},{i},US,{30 + i % 1000 / 100:.4f},{-90 + i % 777 / 100:.4f},1050,5000,WTC,WTC,{b},0,{b // 4},"
            f"{b // 10},USD,1000,0,{0.01 if i % 2 else 0},{2 if i % 2 else 0},{b},0\n"
            for i, b in enumerate(building.tolist())
        )
    with (folder / "account.csv").open("w") as file:
        file.write(
            "PortNumber,AccNumber,AccCurrency,PolNumber,PolPerilsCovered,PolPeril,LayerNumber,LayerParticipation,"
            "LayerLimit,LayerAttachment,PolDed6All,PolDedType6All\n"
        )
        file.writelines(
            f"1,A{a},USD,P{a}-{k},WTC,WTC,{k},0.5,{[2000000, 20000000][k - 1]},{[0, 2000000][k - 1]},5000,0\n"
            for a in range((n + 19) // 20)
            for k in (1, 2)
        )
    (folder / "ri_info.csv").write_text(
        "ReinsNumber,ReinsLayerNumber,ReinsName,ReinsPeril,ReinsInceptionDate,ReinsExpiryDate,CededPercent,RiskLimit,"
        "RiskAttachment,OccLimit,OccAttachment,PlacedPercent,ReinsCurrency,InuringPriority,ReinsType,RiskLevel,"
        "UseReinsDates\n"
        "1,1,SS,WTC,2026-01-01,2026-12-31,1,0,0,0,0,1,USD,1,SS,LOC,N\n"
        "2,1,QS,WTC,2026-01-01,2026-12-31,0.2,0,0,0,0,0.9,USD,2,QS,SEL,N\n"
        "3,1,PR,WTC,2026-01-01,2026-12-31,1,500000,200000,0,0,1,USD,3,PR,LOC,N\n"
        "4,1,CXL,WTC,2026-01-01,2026-12-31,1,0,0,500000000,100000000,1,USD,4,CXL,SEL,N\n"
    )
    (folder / "ri_scope.csv").write_text(
        "ReinsNumber,PortNumber,AccNumber,PolNumber,LocGroup,LocNumber,CedantName,ProducerName,LOB,CountryCode,"
        "ReinsTag,CededPercent\n"
        + "".join(f"1,1,A{i // 20},,,{i},,,,,,0.3\n" for i in range(0, n, 50))
        + "".join(f"{k},1,,,,,,,,,,1\n" for k in (2, 3, 4))
    )
    return {name: folder / f"{name}.csv" for name in ("location", "account", "ri_info", "ri_scope")}


def _best(work: Callable[[], object], n: int) -> tuple[float, float]:
    """(median wall, median CPU) seconds of n runs after a warm one."""
    work()
    wall, cpu = [], []
    for _ in range(n):
        start, begun = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
    return statistics.median(wall), statistics.median(cpu)


def terms(n: int, peer: str | None) -> dict[str, Any]:
    """Files to net item losses, and a new footprint on a resident book, beside an oasislmf exposure run."""
    from geo import terms_files

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_book(folder, n)

        def whole() -> Any:
            loaded = terms_files.load(
                files["location"], files["account"], ri_info=files["ri_info"], ri_scope=files["ri_scope"], peril="WTC"
            )
            losses = loaded.losses(0.3)
            terms_files.write_items(loaded, losses, folder / "items.csv")
            return loaded, losses

        start = time.perf_counter()
        loaded, losses = whole()
        cold = time.perf_counter() - start
        files_s, files_cpu = _best(whole, 3)
        ratio = np.random.default_rng(2).uniform(0, 1, len(loaded.book.item_row))
        resident_s, resident_cpu = _best(lambda: loaded.losses(ratio), 9)
        told: dict[str, Any] = {
            "locations": n, "items": len(loaded.book.item_row), "rows": loaded.book.n_rows,
            "first_run_s": cold, "files_to_net_s": files_s, "files_to_net_cpu_s": files_cpu,
            "resident_s": resident_s, "resident_cpu_s": resident_cpu,
            "loss_il": float(losses[1].sum()), "loss_ri": float(losses[2].sum()),
        }  # fmt: skip
        if peer:
            done = subprocess.run(
                [peer, "-c", _PEER, name, str(folder / "peer.csv")],
                capture_output=True, text=True, check=True, cwd=name, env={**os.environ, "OASIS_FLOAT": "f8"},
            )  # fmt: skip
            times = json.loads(next(x for x in done.stdout.splitlines() if x.startswith("TIMES"))[6:])
            theirs = np.genfromtxt(folder / "peer.csv", delimiter=",", names=True, usecols=("loss_il", "loss_ri"))
            told |= {
                "peer_s": times[1][0], "peer_cpu_s": times[1][1], "peer_first_run_s": times[0][0],
                "peer_loss_il": float(np.nansum(theirs["loss_il"])),
                "peer_loss_ri": float(np.nansum(theirs["loss_ri"])),
                "files_ratio": times[1][0] / files_s, "resident_ratio": times[1][0] / resident_s,
                "files_cpu_ratio": times[1][1] / files_cpu, "resident_cpu_ratio": times[1][1] / resident_cpu,
            }  # fmt: skip
        return told


def memory(n: int = 1_000_000, n_samples: int = 100) -> dict[str, Any]:
    """A book of n locations through its terms for each of many samples, and the process's largest memory."""
    from geo import terms_files

    with tempfile.TemporaryDirectory() as name:
        files = write_book(Path(name), n)
        start = time.perf_counter()
        loaded = terms_files.load(files["location"], files["account"], peril="WTC")
        loading = time.perf_counter() - start
        rng = np.random.default_rng(3)
        total = np.empty(n_samples)
        start = time.perf_counter()
        for sample in range(n_samples):
            total[sample] = loaded.losses(rng.uniform(0, 1, len(loaded.book.item_row)))[1].sum()
        took = time.perf_counter() - start
    return {
        "locations": n, "items": len(loaded.book.item_row), "samples": n_samples, "load_s": loading, "samples_s": took,
        "mean": float(total.mean()), "sd": float(total.std()),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }  # fmt: skip


def ep(n: int = 1_000_000, peer: str | None = None) -> dict[str, Any]:
    """Curves of n events: OEP of means, and of as many simulated years; beside CLIMADA's curve of the same means."""
    from geo.ep import Curve, EventLosses, summary

    rng = np.random.default_rng(4)
    mean = rng.lognormal(10, 2, n)
    events = EventLosses.make(np.full(n, 1 / n), mean, mean, mean * 20)
    oep_s, oep_cpu = _best(events.oep, 3)
    years = events.simulate(n, rng)
    curve_s, curve_cpu = _best(lambda: Curve.of(years.annual()), 3)
    all_s, all_cpu = _best(lambda: summary(years), 3)
    told: dict[str, Any] = {
        "events": n, "oep_of_means_s": oep_s, "oep_of_means_cpu_s": oep_cpu, "aep_curve_s": curve_s,
        "aep_curve_cpu_s": curve_cpu, "all_curves_s": all_s, "all_curves_cpu_s": all_cpu,
    }  # fmt: skip
    if peer:
        with tempfile.TemporaryDirectory() as name:
            np.save(Path(name) / "mean.npy", mean)
            done = subprocess.run(
                [peer, "-c", _CURVE_PEER, str(Path(name) / "mean.npy")], capture_output=True, text=True, check=True
            )
        took, largest, once_in_100 = json.loads(
            next(line for line in done.stdout.splitlines() if line.startswith("FIGURE"))[7:]
        )
        loss, probability = events.oep()
        mine = float(loss[np.searchsorted(-np.log1p(-probability), 0.01)])  # by rate, as the peer counts
        told |= {
            "peer_cpu_s": took, "oep_ratio": took / oep_cpu, "largest": [float(loss[0]), largest],
            "once_in_100": [mine, once_in_100],
        }  # fmt: skip
    return told


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--oasislmf", help="interpreter of an environment with oasislmf")
    parser.add_argument("--climada", help="interpreter of an environment with climada")
    parser.add_argument("--locations", type=int, default=100_000)
    parser.add_argument("--parts", default="terms,memory,ep")
    given = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "terms": lambda: terms(given.locations, given.oasislmf), "memory": memory,
        "ep": lambda: ep(peer=given.climada),
    }  # fmt: skip
    told = {}
    for part in given.parts.split(","):
        told[part] = parts[part]()
        print(part, json.dumps(told[part]), file=sys.stderr)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
