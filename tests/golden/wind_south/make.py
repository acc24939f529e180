"""How climada.csv was made: CLIMADA 6.1.0 on a made-up southern storm that crosses the antimeridian.

Run in an environment with climada (GPL-3, never imported by the product): `python make.py`.
"""

import numpy as np
import pandas as pd
import xarray as xr
from climada.hazard import Centroids, TCTracks, TropCyclone

n = 37
hours = np.arange(n)
track = pd.DataFrame({
    "time": pd.Timestamp("2020-02-01") + pd.to_timedelta(hours, unit="h"),
    "lat": np.round(-15.0 - 0.09 * hours, 4), "lon": np.round(178.6 + 0.11 * hours, 4),
    "vmax_kt": np.round(95.0 + 15.0 * np.sin(hours / 8.0), 2), "pc_hpa": np.round(952.0 - 14.0 * np.sin(hours / 8.0), 2),
    "penv_hpa": 1004.0, "rmw_nmile": np.round(22.0 - 4.0 * np.sin(hours / 8.0), 2),
})  # fmt: skip
lat, lon = np.meshgrid(np.arange(-20.0, -13.4, 0.5), np.arange(177.0, 185.1, 0.5))
lat, lon = lat.ravel(), lon.ravel()
k = ("time",)
data = xr.Dataset(
    {
        "time_step": (k, np.ones(n)), "radius_max_wind": (k, track.rmw_nmile.values), "radius_oci": (k, np.zeros(n)),
        "max_sustained_wind": (k, track.vmax_kt.values), "central_pressure": (k, track.pc_hpa.values),
        "environmental_pressure": (k, track.penv_hpa.values), "basin": (k, ["SP"] * n),
    },
    coords={"time": track.time.values, "lat": (k, track.lat.values), "lon": (k, track.lon.values)},
    attrs={"max_sustained_wind_unit": "kn", "central_pressure_unit": "mb", "name": "S", "sid": "S",
           "orig_event_flag": True, "data_provider": "x", "id_no": 1.0, "category": 3},
)  # fmt: skip
found = {}
for name, model in (("H80", "H1980"), ("H08", "H08"), ("H10", "H10")):
    hazard = TropCyclone.from_tracks(
        TCTracks([data]), Centroids(lat=lat, lon=lon), model=model, ignore_distance_to_coast=True
    )
    found[name] = hazard.intensity.toarray()[0]
table = pd.DataFrame({"lat": lat, "lon": (lon + 180) % 360 - 180, **found})
table.round(4).to_csv("climada.csv", index=False)
track.to_csv("track.csv", index=False)
