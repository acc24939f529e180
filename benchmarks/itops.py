"""Times the hazard fit: one row a device-year, left truncated, about 6 % failures, two covariates.

    python -m benchmarks.itops [--peer INTERPRETER]   # an interpreter that has lifelines; without it ours alone

Both fit the same rows in turn, each after one small warm-up; the best of the repeats is told, and the ratio.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from itops.hazard import Records, fit_weibull, records

_PEER = """
import json, sys, time
import numpy as np, pandas as pd
from lifelines import WeibullAFTFitter
rows = np.load(sys.argv[1])
frame = pd.DataFrame({name: rows[name] for name in ("start", "stop", "failed", "x0", "x1")})
def fit(part):
    begin = time.perf_counter()
    found = WeibullAFTFitter().fit(part, "stop", "failed", entry_col="start")
    return time.perf_counter() - begin, found
fit(frame[:2000])
times, found = [], None
for _ in range(int(sys.argv[2])):
    took, found = fit(frame)
    times.append(took)
shape = float(np.exp(found.params_["rho_"]["Intercept"]))
print(json.dumps({"seconds": min(times), "shape": shape,
    "coefficient": [-shape * float(found.params_["lambda_"][c]) for c in ("x0", "x1")]}))
"""


def device_years(n: int, seed: int = 1) -> Records:
    """n device-years of a Weibull hazard with shape 1.4 and effects 0.5 and -0.3."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0.05, 6.0, n)
    x = rng.normal(size=(n, 2))
    risk = np.exp(x @ [0.5, -0.3])
    death = 14.0 * ((start / 14.0) ** 1.4 + rng.exponential(size=n) / risk) ** (1 / 1.4)
    failed = death <= start + 1.0
    return records(start, np.where(failed, death, start + 1.0), failed, covariates=x)


def _ours(data: Records, repeats: int) -> dict[str, object]:
    fit_weibull(device_years(2000, 2))
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        found = fit_weibull(data)
        times.append(time.perf_counter() - begin)
    return {"seconds": min(times), "shape": found.shape, "coefficient": found.coefficient.tolist()}


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="interpreter with lifelines")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    data = device_years(100_000)
    told: dict[str, object] = {
        "failures": float(np.mean(data.failed)),
        "hazard_100k": _ours(data, asked.repeats),
        "hazard_1M": _ours(device_years(1_000_000), 1),
    }
    if asked.peer:
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder) / "rows.npz"
            np.savez(
                rows, start=data.start, stop=data.stop, failed=data.failed,
                x0=data.covariates[:, 0], x1=data.covariates[:, 1],
            )  # fmt: skip
            run = subprocess.run(
                [asked.peer, "-c", _PEER, rows, str(asked.repeats)], capture_output=True, text=True, check=True
            )
        told["lifelines_100k"] = peer = json.loads(run.stdout)
        told["ratio"] = peer["seconds"] / told["hazard_100k"]["seconds"]  # type: ignore[index]
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
