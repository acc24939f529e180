"""Times the hazard fit and the compound loss of groups beside their peers, in one run.

    python -m benchmarks.itops [--peer INTERPRETER] [--groups 500] [--peer-groups 4]

INTERPRETER has lifelines, gemact and aggregate; without it ours alone. Hazard: one row a device-year, left truncated,
about 6 % failures, two covariates; both fit the same rows in turn, each after one small warm-up; the best of the
repeats is told, and the ratio. Compound loss: groups of five covers with their own counts, deductibles and limits; a
group's five laws are summed. Peers do the first `peer-groups` and are scaled to all by the seconds of a group; times
are CPU seconds.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from itops.aggregate import LossGroup, compound, discretise, grid_step
from itops.hazard import Records, fit_weibull, records
from itops.severity import FloatArray

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


_COMPOUND_PEER = """
import json, logging, sys, time, warnings
import numpy as np
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
groups, which = json.load(open(sys.argv[1])), sys.argv[2]
def gemact(cover):
    import gemact as g
    c = cover["cv2"]
    count = (g.Frequency(dist="poisson", par={"mu": cover["count"]}) if c == 0 else
        g.Frequency(dist="nbinom", par={"n": 1 / c, "p": 1 / (1 + c * cover["count"])}))
    model = g.LossModel(frequency=count,
        severity=g.Severity(dist="lognormal", par={"shape": cover["sigma"], "scale": float(np.exp(cover["mu"]))}),
        policystructure=g.PolicyStructure(layers=g.Layer(cover=cover["limit"], deductible=cover["deductible"])),
        aggr_loss_dist_method="fft", n_aggr_dist_nodes=2**14, sev_discr_method="localmoments",
        n_sev_discr_nodes=2**10, sev_discr_step=cover["limit"] / 2**9)
    return float(model.mean(use_dist=True)[0] if np.ndim(model.mean(use_dist=True)) else model.mean(use_dist=True))
def aggregate(group):
    from aggregate import build
    total = 0.0
    lines = []
    for k, c in enumerate(group):
        mixed = "poisson" if c["cv2"] == 0 else "mixed gamma %r" % c["cv2"] ** 0.5
        lines.append("\\tagg c%d %r claims %r xs %r sev %r * lognorm %r ! %s" % (
            k, c["count"], c["limit"], c["deductible"], float(np.exp(c["mu"])), c["sigma"], mixed))
    made = build("port p\\n" + "\\n".join(lines), log2=14, update=True)
    return float(made.est_m if hasattr(made, "est_m") else made.audit_df.loc["total", "EmpEX1"])
def group_mean(group):
    return sum(gemact(c) for c in group) if which == "gemact" else aggregate(group)
group_mean(groups[0])
begin = time.process_time()
means = [group_mean(group) for group in groups]
print(json.dumps({"seconds_a_group": (time.process_time() - begin) / len(groups), "means": means}))
"""


def group_covers(n: int, seed: int = 3) -> list[list[dict[str, float]]]:
    """n groups of five covers: log-normal losses above a deductible up to a limit, Poisson or negative binomial.

    1 / cv2 is a whole number: GEMAct 1.3.0 cuts the size of a negative binomial to one.
    """
    rng = np.random.default_rng(seed)
    return [
        [
            {
                "count": float(rng.uniform(0.05, 3.0)), "cv2": 0.0 if k == 0 else 1.0 / float(rng.integers(3, 20)),
                "mu": float(rng.uniform(0.0, 2.5)), "sigma": float(rng.uniform(0.8, 1.6)),
                "deductible": float(rng.choice([1.0, 2.0, 5.0])), "limit": float(rng.choice([50.0, 100.0, 200.0])),
            }
            for k in range(5)
        ]
        for _ in range(n)
    ]  # fmt: skip


def _lognormal_lev(x: FloatArray, mu: float, sigma: float) -> FloatArray:
    """E[min(Y, x)] of a log-normal."""
    z = (np.log(np.maximum(x, 1e-300)) - mu) / sigma
    return np.asarray(np.exp(mu + sigma**2 / 2) * ndtr(z - sigma) + x * ndtr(-z), dtype=np.float64)


def _compound_ours(groups: list[list[dict[str, float]]], n_nodes: int) -> dict[str, object]:
    """CPU seconds, and how far each group's mean is from the closed form."""
    begin, off, means = time.process_time(), [], []
    for covers in groups:
        exact = variance = 0.0
        for c in covers:
            low, high = _lognormal_lev(np.array([c["deductible"], c["deductible"] + c["limit"]]), c["mu"], c["sigma"])
            mean = c["count"] * (high - low)
            exact += mean
            variance += c["count"] * c["limit"] * (high - low) + c["cv2"] * mean**2  # an upper bound: reach only
        step = grid_step(exact, variance**0.5, max(c["limit"] for c in covers), n_nodes)
        made = []
        for c in covers:
            at_deductible = float(_lognormal_lev(np.array([c["deductible"]]), c["mu"], c["sigma"])[0])

            def lev(x: FloatArray, c: dict[str, float] = c, base: float = at_deductible) -> FloatArray:
                reach = c["deductible"] + np.minimum(x, c["limit"])
                return np.asarray(_lognormal_lev(reach, c["mu"], c["sigma"]) - base, dtype=np.float64)

            made.append(
                LossGroup(expected_count=c["count"], mixing_cv2=c["cv2"], probability=discretise(lev, c["limit"], step))
            )
        law = compound(made, step=step, regime_cv=0.0, n_nodes=n_nodes)
        means.append(law.mean)
        off.append(abs(law.mean / exact - 1.0))
    seconds = time.process_time() - begin
    return {"seconds": seconds, "seconds_a_group": seconds / len(groups), "worst_mean": max(off), "means": means}


def compound_loss(peer: Path | None, n_groups: int, n_peer: int) -> dict[str, object]:
    """Ours for all groups, each peer for the first few, and the ratio of seconds a group."""
    groups = group_covers(n_groups)
    _compound_ours(groups[:5], 4096)
    ours = _compound_ours(groups, 4096)
    told: dict[str, object] = {"n_groups": n_groups, **{k: v for k, v in ours.items() if k != "means"}}
    if peer:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "groups.json"
            file.write_text(json.dumps(groups[:n_peer]))
            for name in ("gemact", "aggregate"):
                run = subprocess.run(
                    [peer, "-c", _COMPOUND_PEER, file, name], capture_output=True, text=True, check=False
                )
                if run.returncode:
                    told[name] = {"failed": run.stderr[-300:]}
                    continue
                found = json.loads(run.stdout.splitlines()[-1])
                mine = ours["means"][:n_peer]  # type: ignore[index]
                told[name] = {
                    "seconds_a_group": found["seconds_a_group"],
                    "ratio": found["seconds_a_group"] / ours["seconds_a_group"],  # type: ignore[operator]
                    "means_differ_by": max(abs(a / b - 1.0) for a, b in zip(found["means"], mine, strict=True)),
                }
    return told


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
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--peer-groups", type=int, default=4)
    parser.add_argument("--only", choices=("hazard", "compound"))
    asked = parser.parse_args()
    if asked.only != "hazard":
        found = compound_loss(asked.peer, asked.groups, asked.peer_groups)
        if asked.only:
            print(json.dumps({"compound": found}, indent=2))
            return
    data = device_years(100_000)
    told: dict[str, object] = {
        "failures": float(np.mean(data.failed)),
        "hazard_100k": _ours(data, asked.repeats),
        "hazard_1M": _ours(device_years(1_000_000), 1),
    }
    if not asked.only:
        told["compound"] = found
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
