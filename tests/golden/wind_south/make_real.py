"""How real/*.csv were made: CLIMADA 6.1.0 on four southern storms of its own test data, one across the antimeridian.

Best tracks of IBTrACS (NOAA, public domain) as CLIMADA keeps them: `climada/hazard/test/data/` 1988021S12080.nc,
1997018S11059.nc, 2018079S09162.nc (Iris) and `tracks-antimeridian/` 1980052S16155.nc. Run in an environment with
climada (GPL-3, never imported by the product): `python make_real.py FOLDER_OF_THE_NC_FILES`. CLIMADA fills the tracks
in to hours, they are rounded, and its winds are computed from the rounded hours, at a grid around the deepest fix.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from climada.hazard import Centroids, TCTracks, TropCyclone

STORMS = ("1988021S12080", "1997018S11059", "1980052S16155", "2018079S09162")
FIELDS = {
    "vmax_kt": "max_sustained_wind", "pc_hpa": "central_pressure", "penv_hpa": "environmental_pressure",
    "rmw_nmile": "radius_max_wind",
}  # fmt: skip
K = ("time",)


def dataset(time: np.ndarray, lat: np.ndarray, lon: np.ndarray, table: pd.DataFrame) -> xr.Dataset:
    """A track as CLIMADA holds it."""
    step = np.diff(time) / np.timedelta64(1, "h")
    data = {
        **{theirs: (K, table[ours].values.astype(float)) for ours, theirs in FIELDS.items()},
        "time_step": (K, np.append(step, step[-1])), "radius_oci": (K, np.zeros(len(time))),
        "basin": (K, ["SP"] * len(time)),
    }  # fmt: skip
    return xr.Dataset(
        data, coords={"time": time, "lat": (K, lat), "lon": (K, lon)},
        attrs={"max_sustained_wind_unit": "kn", "central_pressure_unit": "mb", "name": "S", "sid": "S",
               "orig_event_flag": True, "data_provider": "x", "id_no": 1.0, "category": 3},
    )  # fmt: skip


def main() -> None:
    """Writes STORM.csv and STORM_climada.csv for each storm."""
    out = Path(__file__).parent / "real"
    out.mkdir(exist_ok=True)
    for storm in STORMS:
        (file,) = Path(sys.argv[1]).rglob(f"{storm}.nc")
        given = xr.load_dataset(file)
        table = pd.DataFrame({ours: given[theirs].values for ours, theirs in FIELDS.items()})
        tracks = TCTracks([dataset(given.time.values, given.lat.values.astype(float),
                                   np.unwrap(given.lon.values.astype(float), period=360), table)])  # fmt: skip
        tracks.equal_timestep(1)
        hourly = tracks.data[0]
        table = pd.DataFrame({ours: hourly[theirs].values.round(2) for ours, theirs in FIELDS.items()})
        lat, lon = hourly.lat.values.round(4), hourly.lon.values.round(4)
        table.insert(0, "time", pd.to_datetime(hourly.time.values))
        table.insert(1, "lat", lat)
        table.insert(2, "lon", ((lon + 180.0) % 360.0 - 180.0).round(4))
        table.to_csv(out / f"{storm}.csv", index=False)
        deepest = int(table.pc_hpa.argmin())
        y, x = np.meshgrid(lat[deepest] + np.arange(-3.0, 3.1, 0.6), lon[deepest] + np.arange(-4.0, 4.1, 0.8))
        y, x = y.ravel().round(4), x.ravel().round(4)
        rounded = TCTracks([dataset(hourly.time.values, lat, np.unwrap(lon, period=360), table)])
        winds = {
            name: TropCyclone.from_tracks(
                rounded, Centroids(lat=y, lon=x), model=model, ignore_distance_to_coast=True
            ).intensity.toarray()[0].round(3)
            for name, model in (("H80", "H1980"), ("H08", "H08"), ("H10", "H10"))
        }  # fmt: skip
        found = pd.DataFrame({"lat": y, "lon": ((x + 180.0) % 360.0 - 180.0).round(4), **winds})
        found.to_csv(out / f"{storm}_climada.csv", index=False)


if __name__ == "__main__":
    main()
