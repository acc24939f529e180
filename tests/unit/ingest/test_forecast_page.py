"""The figures of docs/methods/forecast.md are those of the shipped models; the bar that is met stays met."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.forecast_selection import hubeau, thinned
from ingest.forecast import verify as verb
from ingest.forecast.models import CHOSEN, MODELS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "methods" / "forecast.md"


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, Any]]:
    folder = shared_data / "warning" / "floods"
    stations = verb.read_stations(folder / "ditwah2025_lk_stations_dev.csv")
    series = verb.read_levels(folder / "ditwah2025_lk_levels_dev.csv", stations)
    run = verb.forecast(stations, series, 6.0)
    return verb.verify(run, stations, series, 6.0, range(len(MODELS)))


def cell(value: Any, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of both tables as the page must have them."""
    out = []
    for r in rows:
        name = f"**{r['model']}** (chosen)" if r["chosen"] else r["model"]
        interval = f"{cell(r['csi'], 2)} [{cell(r['csi_p05'], 2)}, {cell(r['csi_p95'], 2)}]"
        leads = f"{cell(r['median_lead_h'], 1)} | {cell(r['median_lead_with_zeros_h'], 1)}"
        better = "-" if r["model"] == "damped_trend" else cell(r["p_better_than_damped"], 2)
        out.append(
            f"| {name} | {r['crossings']} | {cell(r['pod'], 2)} | {cell(r['far'], 2)} | {interval} | {better} | {leads} "
            f"| {cell(r['brier'], 3)} | {cell(r['brier_skill'], 2)} |"
        )
    for r in rows:
        out.append(f"| {r['model']} | " + " | ".join(cell(h["mae_m"], 3) for h in r["horizons"]) + " |")
    chosen = next(r for r in rows if r["chosen"])
    out.append("| coverage | " + " | ".join(cell(h["coverage_90"], 2) for h in chosen["horizons"]) + " |")
    out.append("| CRPS, m | " + " | ".join(cell(h["crps_m"], 3) for h in chosen["horizons"]) + " |")
    return out


def test_the_page_has_the_figures_of_the_shipped_models(rows: list[dict[str, Any]]) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    missing = [line for line in table(rows) if line not in lines]
    assert not missing, "\n".join(missing)


@pytest.mark.long
def test_the_page_has_prophets_place(shared_data: Path) -> None:
    folder = shared_data / "warning" / "floods"
    stations = verb.read_stations(folder / "ditwah2025_lk_stations_dev.csv")
    series = verb.read_levels(folder / "ditwah2025_lk_levels_dev.csv", stations)
    run = verb.forecast(stations, series, 6.0, with_prophet=True)
    rows: list[dict[str, Any]] = verb.verify(run, stations, series, 6.0, range(len(verb.NAMES)))
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    missing = [line for line in table(rows) if line.startswith("| prophet") and line not in lines]
    assert not missing, "\n".join(missing)


@pytest.mark.long
def test_the_page_has_gloria_2020(shared_data: Path) -> None:
    stations, series = hubeau(shared_data / "warning" / "floods" / "hubeau_gloria_jan2020_10min.csv.gz")
    series = thinned(series, 1.0)
    rows: list[dict[str, Any]] = verb.verify(
        verb.forecast(stations, series, 6.0), stations, series, 6.0, range(len(MODELS))
    )
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    missing = [line for line in table(rows)[: len(rows)] if line not in lines]
    assert not missing, "\n".join(missing)


def test_the_chosen_model_holds_what_the_page_claims(rows: list[dict[str, Any]]) -> None:
    chosen = next(r for r in rows if r["model"] == CHOSEN)
    assert chosen["csi"] >= 0.62
    assert chosen["far"] <= 0.25
    assert chosen["p_better_than_damped"] >= 0.95
    assert chosen["median_lead_h"] >= 2.5
    assert all(0.85 <= h["coverage_90"] <= 0.95 for h in chosen["horizons"])
