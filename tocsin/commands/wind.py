"""`tocsin wind`: tropical cyclone wind at points and the damage it does. Files in, files out, no database."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

#: Points of an ensemble that are held in memory at once, for each member.
_CHUNK = 200_000


def register(app: typer.Typer) -> None:
    """Mounts this command."""
    app.command("wind")(wind)


def wind(
    track: Annotated[
        Path,
        typer.Argument(
            metavar="TRACK",
            help="CSV (time, lat, lon, vmax_kt, pc_hpa, penv_hpa, rmw_nmile; with a column member: an ensemble), an "
            "ATCF deck, an IBTrACS CSV file, or a folder with a file for each member of an ensemble.",
            show_default=False,
        ),
    ],
    points: Annotated[Path, typer.Option(help="CSV of points: lat, lon (WGS84 degrees), value.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    model: Annotated[str, typer.Option(help="Wind profile: H80, H08 or H10.")] = "H08",
    v_half: Annotated[float | None, typer.Option(help="Wind of half damage, m/s; default 74.7 (US).")] = None,
    region: Annotated[str | None, typer.Option(help="Region of Eberenz et al. (2021) in place of --v-half.")] = None,
    calibration: Annotated[str, typer.Option(help="With --region: tdr or rmsf.")] = "tdr",
    v_half_samples: Annotated[
        int, typer.Option(help="With --region: draws from the fits to single events, for the spread of the loss.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of --v-half-samples.")] = 1,
    storm: Annotated[str | None, typer.Option(help="Number or name of the storm where the file holds several.")] = None,
    agency: Annotated[
        str | None, typer.Option(help="IBTrACS: whose winds: usa (default), wmo, tokyo, bom, reunion, ...")
    ] = None,
    averaging_min: Annotated[
        int | None, typer.Option(help="Minutes over which winds are averaged, 1 or 10; else the agency's, or 1.")
    ] = None,
    penv_hpa: Annotated[float | None, typer.Option(help="Pressure around the storm where the track has none.")] = None,
    step_min: Annotated[float, typer.Option(help="Longest step in minutes; wider gaps are filled in.")] = 60.0,
    reach_km: Annotated[float, typer.Option(help="Beyond this distance the storm has no wind.")] = 1000.0,
    exceed: Annotated[
        str | None, typer.Option(help="Ensemble: winds in m/s, separated by commas, whose chance is written.")
    ] = None,
    sensors: Annotated[
        Path | None,
        typer.Option(
            help="CSV of readings: lat, lon, wind_m_s (largest 1-minute wind at 10 m). They condition the field."
        ),
    ] = None,
    correlation_km: Annotated[
        float | None, typer.Option(help="With --sensors: distance at which errors of the field correlate by 1/e.")
    ] = None,
    sensor_error: Annotated[
        float | None, typer.Option(help="With --sensors: standard deviation of ln(reading), for example 0.1.")
    ] = None,
    field_sigma: Annotated[
        float, typer.Option(help="With --sensors: standard deviation of ln(wind) of the field.")
    ] = 0.2,
    trust_units: Annotated[bool, typer.Option("--trust-units", help="Do not hold wind against pressure.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Write each point's largest wind over a storm (1-minute, surface) and the loss by Emanuel's curve.

    With an ensemble wind_m_s is the median over its members and loss their mean, and the spread stands beside.
    """
    import numpy as np
    from rich.console import Console
    from rich.progress import track as shown

    from geo.conditioning import DOUBTFUL_SD, condition
    from geo.ensemble import LossSpread, exceedance, quantiles
    from geo.point_files import (
        cell,
        load_v_half_fits,
        read_points,
        read_sensors,
        read_table,
        read_values,
        write_table,
    )
    from geo.track_files import read_tracks
    from geo.vulnerability import V_HALF_US_M_S, emanuel, sampled_v_half, v_half_m_s
    from geo.wind import MODELS, UnknownModel, check_points_near, max_wind_m_s, resample

    chosen = next((name for name in MODELS if name == model.upper()), None)
    if chosen is None:
        raise UnknownModel(f"--model: {model!r} is none of {', '.join(MODELS)}")
    if v_half is not None and region is not None:
        raise InvalidInput("--v-half and --region: give one of them")
    if v_half_samples and region is None:
        raise InvalidInput("--v-half-samples: needs --region, whose fits are sampled")
    if not (np.isfinite(reach_km) and reach_km > 0.0):
        raise InvalidInput(f"--reach-km: {reach_km:g} is not a distance")
    half = v_half_m_s(region, calibration) if region is not None else v_half if v_half is not None else V_HALF_US_M_S
    thresholds = _thresholds(exceed)
    members = read_tracks(
        track, storm=storm, agency=agency, averaging_min=averaging_min, penv_hpa=penv_hpa, check=not trust_units
    )
    storms = [resample(one.track, step_min * 60.0) for one in members]
    several = len(storms) > 1
    if thresholds and not several:
        raise InvalidInput("--exceed: one track gives no chance; it needs an ensemble")
    table = read_table(points, ("lat", "lon"))
    lon, lat = read_points(table)
    value = read_values(table)
    placed = np.flatnonzero(~np.isnan(lon))
    check_points_near(storms[0], lon[placed], lat[placed])
    readings = None
    if sensors is not None:
        if correlation_km is None or sensor_error is None:
            raise InvalidInput("--sensors: needs --correlation-km and --sensor-error; neither has a default")
        readings = read_sensors(sensors, "wind_m_s", ("wind_kt", "wind_kmh", "gust_m_s", "wind_mph", "wind"))
    doubtful: list[int] = []

    def field(storm_: Any, name: Any, x: Any, y: Any) -> Any:
        speed = max_wind_m_s(storm_, x, y, model=name, reach_km=reach_km)
        if readings is None or correlation_km is None or sensor_error is None:
            return speed
        at_sensors = max_wind_m_s(storm_, readings[0], readings[1], model=name, reach_km=reach_km)
        after, _, departure = condition(
            lon=x, lat=y, median=speed, sigma_ln=np.full(len(x), field_sigma),
            sensor_lon=readings[0], sensor_lat=readings[1], sensor_median=at_sensors,
            sensor_sigma_ln=np.full(len(readings[0]), field_sigma), reading=readings[2],
            error_ln=sensor_error, correlation_km=correlation_km,
        )  # fmt: skip
        doubtful[:] = [i for i in range(len(departure)) if abs(np.nan_to_num(departure[i])) > DOUBTFUL_SD]
        return after

    n = len(lon)
    speed, loss = np.full(n, np.nan), np.full(n, np.nan)
    spread = np.full((3, n), np.nan)
    chance = np.full((len(thresholds), n), np.nan)
    by_member = np.zeros(len(storms))
    top_of = np.zeros(len(storms))
    chunks = [placed[i : i + _CHUNK] for i in range(0, len(placed), _CHUNK)]
    console = Console(stderr=True)
    for rows in shown(
        chunks,
        "Points",
        console=console,
        transient=True,
        disable=not sys.stderr.isatty() or len(chunks) * len(storms) < 4,
    ):
        winds = np.array([field(one, chosen, lon[rows], lat[rows]) for one in storms])
        losses = emanuel(winds, half) * value[rows]
        by_member += np.nansum(losses, axis=1)
        top_of = np.maximum(top_of, winds.max(axis=1))
        speed[rows], loss[rows] = (np.median(winds, axis=0), losses.mean(axis=0)) if several else (winds[0], losses[0])
        if several:
            spread[:, rows] = quantiles(winds)
            chance[:, rows] = exceedance(winds, thresholds) if thresholds else chance[:, rows]
    header = ["lat", "lon", "wind_m_s", "loss"]
    extra: list[Any] = []
    if several:
        header += ["wind_p05_m_s", "wind_p50_m_s", "wind_p95_m_s", *(f"p_exceed_{one:g}_m_s" for one in thresholds)]
        extra = [*spread, *chance]
    lats, lons = table.text("lat"), table.text("lon")
    write_table(
        out,
        header,
        ((lats[i], lons[i], cell(speed[i], 4), cell(loss[i], 2), *(cell(v[i], 4) for v in extra)) for i in range(n)),
    )

    usable = [name for name in MODELS if not (name == "H80" and any(np.isnan(one.vmax_m_s).any() for one in storms))]

    def total(name: Any) -> float:
        if name == chosen:
            return float(by_member.mean())
        each = [
            float(np.nansum(emanuel(field(one, name, lon[rows], lat[rows]), half) * value[rows]))
            for one in storms
            for rows in chunks
        ]
        return sum(each) / len(storms)

    known = speed[placed]
    document: dict[str, Any] = {
        "model": chosen,
        "v_half_m_s": half,
        "n_members": len(storms),
        "n_points": n,
        "n_without_place": n - len(placed),
        "value_without_place": float(np.nansum(value[np.isnan(lon)])),
        "n_without_value": int(np.isnan(value[placed]).sum()),
        "n_fixes_radius_estimated": sum(one.n_rmw_estimated for one in storms),
        "n_fixes_pressure_estimated": sum(one.n_pressure_estimated for one in members),
        "n_fixes_environment_assumed": sum(one.n_environment_assumed for one in members),
        "max_wind_m_s": float(known.max()) if len(known) else None,
        "loss": float(by_member.mean()),
        "loss_by_model": {name: total(name) for name in usable},
    }
    if several:
        told = LossSpread(by_member)
        document["members"] = [
            {"name": one.name, "max_wind_m_s": float(a), "loss": float(b)}
            for one, a, b in zip(members, top_of, by_member, strict=True)
        ]
        document["loss_over_members"] = told.as_json() | {"exceedance": told.curve()}
    if v_half_samples and region is not None:
        draws = sampled_v_half(load_v_half_fits()[region], v_half_samples, np.random.default_rng(seed))
        central = speed[placed]
        document["loss_over_v_half"] = LossSpread(
            np.array([float(np.nansum(emanuel(central, float(one)) * value[placed])) for one in draws])
        ).as_json() | {"seed": seed}
    if readings is not None:
        document["sensors"] = {
            "n": len(readings[2]),
            "n_silent": int(np.isnan(readings[2]).sum()),
            "correlation_km": correlation_km,
            "sensor_error": sensor_error,
            "field_sigma": field_sigma,
            "doubtful_rows": [i + 1 for i in doubtful],
        }
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else "\n".join(_lines(document)))


def _thresholds(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(f"--exceed: {text!r} are not winds in m/s separated by commas") from None
    if any(not 0.0 < one < 150.0 for one in found):
        raise InvalidInput(f"--exceed: {text!r}: a wind lies between 0 and 150 m/s")
    return found


def _lines(told: dict[str, Any]) -> list[str]:
    top = told["max_wind_m_s"]
    lines = [
        f"{told['n_points']} points, largest wind {'unknown' if top is None else f'{top:.1f} m/s'}, loss "
        f"{told['loss']:,.2f} ({told['model']}, v_half {told['v_half_m_s']:g} m/s)",
        "loss by model: " + ", ".join(f"{name} {total:,.0f}" for name, total in told["loss_by_model"].items()),
    ]
    if "loss_over_members" in told:
        spread = told["loss_over_members"]
        lines.append(
            f"{told['n_members']} members: loss {spread['p05']:,.0f} to {spread['p95']:,.0f} (5 to 95 %), "
            f"median {spread['p50']:,.0f}"
        )
    if "loss_over_v_half" in told:
        spread = told["loss_over_v_half"]
        lines.append(
            f"by the fits of v_half to single events: loss {spread['p05']:,.0f} to {spread['p95']:,.0f} (5 to 95 %), "
            f"median {spread['p50']:,.0f}"
        )
    if "sensors" in told:
        s = told["sensors"]
        lines.append(f"conditioned on {s['n'] - s['n_silent']} readings ({s['n_silent']} silent)")
        if s["doubtful_rows"]:
            lines.append(f"doubtful readings, far from the field: rows {', '.join(map(str, s['doubtful_rows']))}")
    if told["n_without_place"]:
        lines.append(
            f"{told['n_without_place']} points without a place, value {told['value_without_place']:,.2f}: unknown"
        )
    if told["n_without_value"]:
        lines.append(f"{told['n_without_value']} points without a value: their loss is unknown")
    for name, what in (
        ("n_fixes_radius_estimated", "radius of maximum wind estimated from pressure"),
        ("n_fixes_pressure_estimated", "pressure estimated from wind"),
        ("n_fixes_environment_assumed", "pressure around the storm assumed by basin"),
    ):
        if told[name]:
            lines.append(f"{what} at {told[name]} fixes")
    return lines
