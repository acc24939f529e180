"""Speed and memory of the wind field: `python -m benchmarks.wind TRACK.csv [--peer PYTHON] [--points N]`.

The peer is CLIMADA in an environment of its own, named by its interpreter; without it our figure stands alone.
"""

import argparse
import resource
import subprocess
import time
from pathlib import Path

import numpy as np

from geo.track_files import read_tracks
from geo.wind import MODELS, max_wind_m_s

_PEER = """
import sys, time, numpy as np, pandas as pd, xarray as xr, resource
from climada.hazard import TCTracks, TropCyclone, Centroids
t = pd.read_csv(sys.argv[1]); n = int(sys.argv[2]); rng = np.random.default_rng(0)
lon, lat = rng.uniform(-82.5, -79.5, n), rng.uniform(24.5, 27.5, n)
k = ("time",)
rmw = t.get("rmw_estimated_nmile", t.get("rmw_nmile")).values
ds = xr.Dataset(dict(time_step=(k, np.ones(len(t))), radius_max_wind=(k, rmw),
    radius_oci=(k, np.zeros(len(t))), max_sustained_wind=(k, t.vmax_kt.values), central_pressure=(k, t.pc_hpa.values),
    environmental_pressure=(k, t.penv_hpa.values), basin=(k, ["NA"] * len(t))),
    coords=dict(time=pd.to_datetime(t.time).values, lat=(k, t.lat.values), lon=(k, t.lon.values)),
    attrs=dict(max_sustained_wind_unit="kn", central_pressure_unit="mb", name="A", sid="A", orig_event_flag=True,
    data_provider="x", id_no=1.0, category=5))
c = Centroids(lat=lat, lon=lon); best = 1e9
for _ in range(3):
    began = time.process_time()
    TropCyclone.from_tracks(TCTracks([ds]), c, model="H08", ignore_distance_to_coast=True)
    best = min(best, time.process_time() - began)
print("FIGURE", best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Prints one line for each model, and the ratio to the peer for H08 where there is one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("track", type=Path)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--peer", help="interpreter of an environment with climada")
    asked = parser.parse_args()
    track = read_tracks(asked.track)[0].track
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-82.5, -79.5, asked.points), rng.uniform(24.5, 27.5, asked.points)
    ours = 0.0
    for model in MODELS:
        max_wind_m_s(track, lon[:10], lat[:10], model=model)  # compiled before the clock runs
        times = []
        for _ in range(3):
            began = time.process_time()
            max_wind_m_s(track, lon, lat, model=model)
            times.append(time.process_time() - began)
        steps = asked.points * len(track.time_s)
        print(f"{model}: {asked.points:,} points x {len(track.time_s)} steps, {min(times):.3f} CPU-s, "
              f"{steps / min(times):.3g} point-steps per CPU-s")  # fmt: skip
        if model == "H08":
            ours = min(times)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {memory / 1024:.0f} MiB")
    if asked.peer is None:
        return
    done = subprocess.run(
        [asked.peer, "-c", _PEER, str(asked.track), str(asked.points)], capture_output=True, text=True, check=False
    )
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("FIGURE")]
    if not found:
        print(f"the peer gave no figure: {done.stderr.strip().splitlines()[-1:]}")
        return
    theirs, their_memory = float(found[0][1]), float(found[0][2])
    print(f"climada H08: {theirs:.3f} CPU-s, {their_memory / 1024:.0f} MiB; ratio {theirs / ours:.1f} in time (bar 5), "
          f"{their_memory / memory:.1f} in memory (bar 5)")  # fmt: skip


if __name__ == "__main__":
    main()
