"""A quote of 10,000 devices end to end: from the three files to the result, and to the PDF. Bar: 2 s to the result.

`nice -n 10 python -m benchmarks.itops_quote [--devices 10000] [--cold 5]` prints processor and wall seconds, and the
share of each part; in the same run the same fleet is priced by 10,000 simulated years of the same kinds of event, for
the ratio. `--cold` runs the whole command so many times, each in a new process, and tells the least and the mean.
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

import numpy as np

from itops import pdf, reference
from itops.quote import Quote
from itops.underwrite import load_priors, price_files

N_YEARS = 10_000


def simulated_years(quote: Quote, seed: int = 1) -> float:
    """Seconds of processor time to draw the same policy's years one event at a time; the peer of the transform."""
    rng = np.random.default_rng(seed)
    began = time.process_time()
    total = np.zeros(N_YEARS)
    r = quote.figures.book.priors.regime_cv**2
    theta = rng.gamma(1 / r, r, N_YEARS)
    for kind in quote.figures.kinds:
        climate = theta if kind.in_regime else np.ones(N_YEARS)
        rate = kind.expected_count * climate
        if kind.mixing_cv2 > 0:
            rate = kind.expected_count * rng.gamma(climate / kind.mixing_cv2, kind.mixing_cv2)
        count = rng.poisson(rate)
        p = np.maximum(kind.probability, 0.0)
        which = rng.choice(len(p), size=int(count.sum()), p=p / p.sum())
        total += np.bincount(np.repeat(np.arange(N_YEARS), count), kind.payment.sum(axis=0)[which], N_YEARS)
    return time.process_time() - began


def cold(folder: Path, times: int) -> str:
    """`tocsin quote s.json --json` in a new process each time."""
    wall, cpu = [], []
    for _ in range(times + 1):  # the first writes bytecode
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tocsin", "quote", folder / "s.json", "--json"],
            check=True, stdout=subprocess.DEVNULL, env=os.environ | {"TOCSIN_HOME": str(folder / "home")},
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - began)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    wall, cpu = wall[1:], cpu[1:]
    return (
        f"cold command, {times} times: {min(cpu):.2f} s of processor at least, {sum(cpu) / times:.2f} in the mean; "
        f"{min(wall):.2f} and {sum(wall) / times:.2f} s on the wall (bar 2 s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--portfolio", default="data_centre", choices=reference.NAMES)
    parser.add_argument("--cold", type=int, default=0, metavar="TIMES")
    given = parser.parse_args()
    submission, fleet, incidents = reference.portfolio(given.portfolio, load_priors()[0])
    scale = given.devices / (fleet.count("\n") - 1)
    submission, fleet, incidents = reference.portfolio(given.portfolio, load_priors()[0], scale=scale)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fleet.csv").write_text(fleet)
        (folder / "incidents.csv").write_text(incidents)
        (folder / "s.json").write_text(json.dumps(submission))
        price_files(folder / "s.json").result()  # imports and caches are warm after this
        wall, cpu = time.perf_counter(), time.process_time()
        priced = price_files(folder / "s.json")
        result = priced.result()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if given.cold:
            print(cold(folder, given.cold))
    began = time.process_time()
    pages = pdf.render(result, "en")
    paper = time.process_time() - began
    peer = simulated_years(priced.quote)
    n_devices, n_incidents = (table.count("\n") - 1 for table in (fleet, incidents))
    print(f"{n_devices:,} devices, {n_incidents:,} incidents, {len(result['covers'])} covers")
    print(f"files to result: {cpu:.2f} s of processor, {wall:.2f} s on the wall (bar 2 s)")
    print(f"PDF of {len(pages):,} bytes: {paper:.2f} s of processor more")
    print(
        f"{N_YEARS:,} simulated years of the same events: {peer:.2f} s of processor, {peer / cpu:.1f} x the whole quote"
    )


if __name__ == "__main__":
    main()
