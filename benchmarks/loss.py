"""Every figure of exposure and loss, each part in a process of its own so that its memory is its own:

    python -m benchmarks.loss [--parts terms,sampled,ep,wind,accumulation] [--oasislmf PYTHON] [--locations 100000]
        [--sampled-locations 1000000] [--samples 100] [--track CSV] [--climada PYTHON]

terms: OED files to item losses net of reinsurance, and a new footprint on a resident book, beside an oasislmf exposure
run where `--oasislmf` names its interpreter. sampled: a book under a footprint, hazard, curve and damage sampled and
every sample through its terms, with the largest memory of the process. ep: curves of a million events. wind and
accumulation: benchmarks/wind.py and benchmarks/accumulation.py with their own peers. Prints one JSON document.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS = ("terms", "sampled", "ep", "wind", "accumulation")


def sampled(n: int, n_samples: int) -> dict[str, Any]:
    """A book of n locations under a footprint: files to distributions, ground-up, gross and net of nothing."""
    import shapely

    from benchmarks.loss_terms import write_book
    from geo import loss, terms_files
    from geo.estimate import PLACE_FIELDS, Places, estimate
    from geo.hazard_field import PolygonField

    with tempfile.TemporaryDirectory() as name:
        files = write_book(Path(name), n)
        start = time.perf_counter()
        loaded = terms_files.load(files["location"], files["account"], peril="WTC", keep=PLACE_FIELDS)
        loaded_s = time.perf_counter() - start
    field = PolygonField.make([(shapely.box(-91.0, 29.0, -80.0, 41.0), 0.3)], "damage_ratio", 0.2)
    start, cpu = time.perf_counter(), time.process_time()
    found = estimate(
        loaded, field, Places.of(loaded.book), event=1, assumed=loss.Uncertainty(n_samples=n_samples, curve_sigma=0.5),
        with_contributions=False,
    )  # fmt: skip
    took, took_cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "locations": n, "items": len(loaded.book.item_row), "samples": n_samples, "load_s": loaded_s,
        "sampled_s": took, "sampled_cpu_s": took_cpu,
        "item_samples_per_cpu_s": len(loaded.book.item_row) * n_samples / took_cpu,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "bar_gib": 2.0,
        "losses": loss.distribution(found.samples),
    }  # fmt: skip


def _part(name: str, given: argparse.Namespace) -> dict[str, Any] | str:
    if name == "wind":
        if given.track is None:
            return {"left_out": "give --track, a best track as for `tocsin wind`"}
        command = [sys.executable, "-m", "benchmarks.wind", given.track]
        command += ["--peer", given.climada] if given.climada else []
    elif name == "accumulation":
        command = [sys.executable, "-m", "benchmarks.accumulation"]
    elif name == "sampled":
        command = [sys.executable, "-m", "benchmarks.loss", "--here", "sampled",
                   "--sampled-locations", str(given.sampled_locations), "--samples", str(given.samples)]  # fmt: skip
    else:
        command = [sys.executable, "-m", "benchmarks.loss_terms", "--parts", name, "--locations", str(given.locations)]
        command += ["--oasislmf", given.oasislmf] if given.oasislmf else []
        command += ["--climada", given.climada] if given.climada else []
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-1:] or done.returncode}
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        return done.stdout.strip()
    return found.get(name, found)


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--oasislmf", help="interpreter of an environment with oasislmf")
    parser.add_argument("--track", help="track for the part `wind`")
    parser.add_argument("--climada", help="interpreter of an environment with climada")
    parser.add_argument("--locations", type=int, default=100_000)
    parser.add_argument("--sampled-locations", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--here", choices=["sampled"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(sampled(given.sampled_locations, given.samples)))
        return
    wanted = given.parts.split(",")
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"--parts: {', '.join(unknown)} is none of {', '.join(PARTS)}")
    told: dict[str, Any] = {}
    for name in wanted:
        told[name] = _part(name, given)
        print(name, json.dumps(told[name]), file=sys.stderr)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
