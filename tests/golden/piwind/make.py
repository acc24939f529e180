"""Asks oasislmf what PiWind's ten locations lose, and writes oracle.json beside this file.

Run with the interpreter of an environment that has oasislmf 2.5.8 and pandas below 3, and the data folder (it holds
`oed` and `oed/piwind_model`):

    PYTHON make.py DATA/cat

The model's tables go through `csvtobin` as they are; items are one for each location, peril (WTC and WSS, both covered
by WW1) and coverage with a value, area and vulnerability looked up in areaperil_dict and vulnerability_dict; one group a
location. `gulmc -a1` samples (allocation rule 1: the perils of one coverage add up to its value at most, which is what
gulmc offers beside leaving them apart). Written: each event's ground-up loss, mean and standard deviation over the
samples, the analytical mean (sample -1 with `-a0`) of each item, and the average annual loss by occurrence_lt.
"""

import csv
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

N_SAMPLES = 1000


def main(data: Path) -> None:
    tables, bin_ = data / "oed" / "piwind_model", Path(sys.executable).parent
    places = pd.read_csv(data / "oed" / "SourceLocOEDPiWind10.csv")
    areas = pd.read_csv(tables / "areaperil_dict.csv")
    laws = pd.read_csv(tables / "vulnerability_dict.csv")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        (run / "input").mkdir()
        (run / "static").mkdir()
        (run / "work").mkdir()
        items, coverages = [], []
        for group, place in enumerate(places.itertuples(), start=1):
            for kind, tiv in ((1, place.BuildingTIV), (2, place.OtherTIV), (3, place.ContentsTIV), (4, place.BITIV)):
                if not tiv or kind not in (1, 3):
                    continue
                coverages.append((len(coverages) + 1, tiv))
                for peril in ("WTC", "WSS"):
                    here = areas[(peril == areas.PERIL_ID) & (kind == areas.COVERAGE_TYPE)]
                    lon, lat = here[[f"LON{i}" for i in range(1, 5)]], here[[f"LAT{i}" for i in range(1, 5)]]
                    hit = here[(lon.min(axis=1) <= place.Longitude) & (place.Longitude <= lon.max(axis=1))
                               & (lat.min(axis=1) <= place.Latitude) & (place.Latitude <= lat.max(axis=1))]  # fmt: skip
                    law = laws[(peril == laws.PERIL_ID) & (kind == laws.COVERAGE_TYPE)
                               & (place.OccupancyCode == laws.OCCUPANCYCODE)]  # fmt: skip
                    items.append((len(items) + 1, len(coverages), int(hit.AREA_PERIL_ID.iloc[0]),
                                  int(law.VULNERABILITY_ID.iloc[0]), group))  # fmt: skip
        write(
            run / "input/items.csv", ("item_id", "coverage_id", "areaperil_id", "vulnerability_id", "group_id"), items
        )
        write(run / "input/correlations.csv",
              ("item_id", "source_item_id", "peril_correlation_group", "damage_correlation_value", "hazard_group_id",
               "hazard_correlation_value"), [(item[0], 0, 0, 0.0, item[4], 0.0) for item in items])  # fmt: skip
        write(run / "input/coverages.csv", ("coverage_id", "tiv"), coverages)
        with gzip.open(tables / "footprint.csv.gz") as packed, (run / "static/footprint.csv").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        for name in ("vulnerability", "damage_bin_dict"):
            shutil.copy(tables / f"{name}.csv", run / "static")
        shutil.copy(tables / "events_p.csv", run / "input/events.csv")
        convert = [
            ["items", "-i", "input/items.csv", "-o", "input/items.bin"],
            ["coverages", "-i", "input/coverages.csv", "-o", "input/coverages.bin"],
            ["correlations", "-i", "input/correlations.csv", "-o", "input/correlations.bin"],
            ["eve", "-i", "input/events.csv", "-o", "input/events.bin"],
            ["damagebin", "-i", "static/damage_bin_dict.csv", "-o", "static/damage_bin_dict.bin", "-N"],
            ["vulnerability", "-d", "12", "-S", "-i", "static/vulnerability.csv", "-o", "static/vulnerability.bin"],
            ["footprint", "-m", "58", "-n", "-i", "static/footprint.csv", "-o", "static/footprint.bin",
             "-x", "static/footprint.idx"],
        ]  # fmt: skip
        for command in convert:
            subprocess.run([str(bin_ / "csvtobin"), *command], cwd=run, check=True)
        found = {}
        for rule in ("0", "1"):
            events = subprocess.run([str(bin_ / "evepy"), "1", "1"], cwd=run, check=True, capture_output=True)
            losses = subprocess.run(
                [str(bin_ / "gulmc"), f"-S{N_SAMPLES}", "-L0", f"-a{rule}"],
                cwd=run, check=True, stdout=subprocess.PIPE, input=events.stdout,
            )  # fmt: skip
            (run / f"gul{rule}.bin").write_bytes(losses.stdout)
            subprocess.run(
                [str(bin_ / "bintocsv"), "gul", "-i", f"gul{rule}.bin", "-o", f"gul{rule}.csv"], cwd=run, check=True
            )
            found[rule] = pd.read_csv(run / f"gul{rule}.csv")
    sampled = found["1"][found["1"].sidx > 0].groupby(["event_id", "sidx"]).loss.sum()
    by_event = sampled.unstack(fill_value=0.0).reindex(columns=range(1, N_SAMPLES + 1), fill_value=0.0)
    means = found["0"][found["0"].sidx == -1].groupby("event_id").loss.sum()
    years = pd.read_csv(tables / "occurrence_lt.csv")
    n_years = int(years.period_no.max())
    happened = years.event_id.map(by_event.mean(axis=1)).fillna(0.0)
    oracle = {
        "made_with": "oasislmf 2.5.8 gulmc, allocation rule 1, loss threshold 0; analytical means with rule 0",
        "n_samples": N_SAMPLES,
        "aal": float(happened.sum() / n_years),
        "events": {
            int(event): {"mean": round(float(row.mean()), 4), "sd": round(float(row.std(ddof=1)), 4),
                         "sum_of_item_means": round(float(means.get(event, 0.0)), 4)}
            for event, row in by_event.iterrows()
        },
    }  # fmt: skip
    Path(__file__).with_name("oracle.json").write_text(json.dumps(oracle, indent=0) + "\n", encoding="utf-8")
    print(len(oracle["events"]), "events, AAL", oracle["aal"])


def write(path: Path, header: tuple[str, ...], rows: list[tuple[float, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
