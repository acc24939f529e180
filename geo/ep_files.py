"""Loss tables from and to files, and the chain from a table to its curves."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from core.errors import InvalidInput
from geo import covers, covers_oed
from geo.ep import RETURN_PERIODS, BadLossTable, Curve, EventLosses, FloatArray, YearLosses, summary
from geo.imports import read_json

#: Names of columns as they are found in the field, small letters, the first one ours.
_NAMES = {
    "rate": ("rate", "rate_per_year", "annual_rate", "annual_probability", "freq", "frequency", "eventrate"),
    "mean": ("mean", "loss", "mean_loss", "meanloss"),
    "sd": ("sd", "sd_loss", "std", "stddev", "sdloss"),
    "exposed": ("exposed", "exposed_value", "max_loss", "maxloss", "tiv", "footprintexposure"),
    "year": ("year", "period", "periodno", "period_no", "year_no"),
    "loss": ("loss", "mean", "mean_loss"),
    "day": ("day",),
    "event_id": ("event_id", "eventid", "event"),
}


def _line(path: Path, row: int) -> int:
    """The line of the file in which a row (from 0) stands; empty lines are no rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        filled = (reader.line_num for cells in reader if any(cell.strip() for cell in cells))
        return next(line for number, line in enumerate(filled, start=-1) if number == row)


def _find(table: pa.Table, name: str) -> str | None:
    """The column of the file that stands for a name."""
    have = {column.strip().lower(): column for column in table.column_names}
    return next((have[candidate] for candidate in _NAMES[name] if candidate in have), None)


def _column(table: pa.Table, name: str, path: Path) -> FloatArray | None:
    found = _find(table, name)
    if found is None:
        return None
    column = table.column(found)
    try:
        values = column.cast(pa.float64())
    except pa.ArrowInvalid:
        for row, text in enumerate(column.to_pylist()):
            try:
                float(text)
            except (TypeError, ValueError):
                told = "it is empty" if text in (None, "") else f"{text!r} is not a number"
                raise BadLossTable(f"{path.name}, line {_line(path, row)}: {found}: {told}") from None
        raise
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise BadLossTable(f"{path.name}, line {_line(path, row)}: {found}: it is empty")
    array: FloatArray = values.to_numpy()
    bad = np.flatnonzero(~np.isfinite(array) | (array < 0))
    if len(bad):
        raise BadLossTable(
            f"{path.name}, line {_line(path, int(bad[0]))}: {found}: {array[bad[0]]:g} is negative or not a finite "
            "number"
        )
    return array


def _read(path: Path) -> pa.Table:
    """The file as columns; raises BadLossTable where it is no table of equal lines with a header of its own."""
    try:
        table = pcsv.read_csv(path, convert_options=pcsv.ConvertOptions(null_values=[""]))
    except (pa.ArrowException, OSError) as error:
        raise BadLossTable(f"{path.name}: {_why_unreadable(path, error)}") from error
    names = [column.strip().lower() for column in table.column_names]
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise BadLossTable(f"{path.name}: the header has {', '.join(doubled)} more than once")
    if not table.num_rows:
        raise BadLossTable(f"{path.name} has a header and no rows")
    return table


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowException):
        return "there is no such file" if isinstance(error, FileNotFoundError) else "the file cannot be read"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            width = len(next(reader, []))
            for cells in reader:
                if cells and len(cells) != width:
                    return f"line {reader.line_num}: {len(cells)} cells under {width} names"
    except (OSError, UnicodeDecodeError, csv.Error) as unreadable:
        return f"not a CSV file in UTF-8: {unreadable}"
    return f"not a readable CSV file: {str(error).splitlines()[0]}"


def _refuse_events(table: pa.Table, path: Path, rate: FloatArray, mean: FloatArray, top: FloatArray | None) -> None:
    """Raises BadLossTable for an event that is no event of a set, with its line."""
    never = np.flatnonzero(rate == 0)
    if len(never):
        raise BadLossTable(
            f"{path.name}, line {_line(path, int(never[0]))}: {_find(table, 'rate')}: 0: an event that never happens "
            "does not belong in the table"
        )
    if top is not None and (top < mean).any():
        row = int(np.flatnonzero(top < mean)[0])
        raise BadLossTable(
            f"{path.name}, line {_line(path, row)}: {_find(table, 'exposed')}: {top[row]:g} is less than the mean loss "
            f"{mean[row]:g}"
        )
    name = _find(table, "event_id")
    if name is None:
        return
    ids = table.column(name).combine_chunks().dictionary_encode()
    if len(ids.dictionary) + (ids.null_count > 0) == table.num_rows:
        return
    codes = ids.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    first = np.unique(codes, return_index=True)[1]
    again = int(np.setdiff1d(np.arange(len(codes)), first)[0])
    before = int(np.flatnonzero(codes == codes[again])[0])
    raise BadLossTable(
        f"{path.name}, line {_line(path, again)}: {name}: event {table.column(name)[again].as_py()!r} stands in line "
        f"{_line(path, before)} before: add up the rows of one event, or keep one kind of them"
    )


def read_losses(path: Path, n_years: int | None) -> EventLosses | YearLosses:
    """An event loss table (with a rate column) or a year loss table (with a year column); raises BadLossTable."""
    table = _read(path)
    rate, year = _column(table, "rate", path), _column(table, "year", path)
    if rate is not None:
        mean = _column(table, "mean", path)
        if mean is None:
            raise BadLossTable(f"{path.name}: the header lacks mean; it has {', '.join(table.column_names)}")
        top = _column(table, "exposed", path)
        _refuse_events(table, path, rate, mean, top)
        return EventLosses.make(rate, mean, _column(table, "sd", path), top)
    if year is None:
        raise BadLossTable(f"{path.name}: the header has neither rate (event losses) nor year (year losses); it has "
                           f"{', '.join(table.column_names)}")  # fmt: skip
    loss = _column(table, "loss", path)
    if loss is None:
        raise BadLossTable(f"{path.name}: the header lacks loss")
    if n_years is None:
        raise InvalidInput("--years: say how many years the year loss table stands for: years without loss count too")
    if (year != np.floor(year)).any() or (year < 1).any() or (year > n_years).any():
        row = int(np.flatnonzero((year != np.floor(year)) | (year < 1) | (year > n_years))[0])
        raise BadLossTable(
            f"{path.name}, line {_line(path, row)}: year: {year[row]:g} is not a whole number in 1..{n_years}"
        )
    return YearLosses.make(year.astype(np.int64) - 1, loss, n_years, _column(table, "day", path))


def _known(given: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise covers.BadCover(f"{where}: {', '.join(unknown)} is not known; there are {', '.join(allowed)}")


def apply_covers(years: YearLosses, given: Mapping[str, Any]) -> tuple[YearLosses, FloatArray, dict[str, Any]]:
    """(occurrences net of the excess, annual net losses, what each step did), steps in the order of the page."""
    _known(given, ("hours_clause", "demand_surge", "excess", "aggregate"), "--cover")
    told: dict[str, Any] = {}
    try:
        if "demand_surge" in given:
            before = years.annual().mean()
            years = covers.demand_surge(years, [(float(a), float(b)) for a, b in given["demand_surge"]])
            told["demand_surge_aal"] = float(years.annual().mean() - before)
        if "hours_clause" in given:
            clause = given["hours_clause"]
            clause = clause if isinstance(clause, Mapping) else {"hours": clause}
            _known(clause, ("hours", "windows"), "--cover hours_clause")
            years = covers.hours_clause(years, float(clause["hours"]), windows=str(clause.get("windows", "first")))
        excess = given.get("excess") or []
        net = years.loss.copy()
        premium = np.zeros(years.n_years)
        told["excess"] = []
        for number, terms in enumerate([excess] if isinstance(excess, Mapping) else excess):
            _known(terms, tuple(covers.Excess.__dataclass_fields__), f"--cover excess[{number}]")
            layer = covers.Excess(**{**terms, "reinstatement_rates": tuple(terms.get("reinstatement_rates", ()))})
            paid = covers.recovered(years, layer)
            reinstated = covers.reinstatement_premium(years, layer)
            net, premium = np.maximum(net - paid.loss, 0.0), premium + reinstated
            told["excess"].append(
                {"recovered_aal": float(paid.annual().mean()), "reinstatement_premium": float(reinstated.mean())}
            )
        years = years.with_loss(net)
        annual = years.annual()
        if "aggregate" in given:
            _known(given["aggregate"], ("attachment", "limit", "share"), "--cover aggregate")
            paid_year = covers.aggregate_recovered(years, **{k: float(v) for k, v in given["aggregate"].items()})
            told["aggregate_recovered_aal"] = float(paid_year.mean())
            annual = annual - paid_year
        told["reinstatement_premium"] = float(premium.mean())
        return years, annual + premium, told
    except (TypeError, ValueError, KeyError) as error:
        raise covers.BadCover(f"--cover: {error}") from error


def run(
    path: Path,
    out: Path,
    *,
    n_years: int | None,
    seed: int,
    return_periods: Sequence[float] | None,
    ylt_out: Path | None,
    cover: Path | None = None,
    ri_info: Path | None = None,
) -> dict[str, Any]:
    """Reads a table, writes the curves, and tells the sums; raises BadLossTable and BadCover."""
    if cover is not None and ri_info is not None:
        raise InvalidInput("--cover and --ri-info: give one of them")
    losses = read_losses(path, n_years)
    told: dict[str, Any] = {}
    lines: list[dict[str, Any]] = []
    periods = tuple(return_periods or RETURN_PERIODS)
    if isinstance(losses, EventLosses):
        years = losses.simulate(n_years or 10_000, np.random.default_rng(seed))
        told |= {"aal_exact": losses.aal, "sd_exact": losses.aal_sd, "seed": seed}
        if cover is None and ri_info is None:
            loss, probability = losses.oep()
            for period in periods:
                # the largest loss that is met or exceeded with at least that chance; below the last event it is zero
                at = int(np.searchsorted(probability, 1 / period, side="left"))
                value = float(loss[at]) if at < len(loss) else 0.0
                lines.append({"curve": "OEP of means", "return_period": period, "loss": value, "low": value,
                                  "high": value, "tvar": None, "tvar_se": None})  # fmt: skip
    else:
        years = losses
    sums = summary(years, periods)
    if cover is not None or ri_info is not None:
        told["gross_aal"] = sums["aal"]
        if ri_info is not None:
            years, premium, done = covers_oed.apply_contracts(years, covers_oed.read_contracts(ri_info))
            annual = years.annual() + premium
            told["cover"] = {"contracts": done, "reinstatement_premium": float(premium.mean())}
        else:
            assert cover is not None
            given = read_json(cover)
            if not isinstance(given, dict):
                raise covers.BadCover("--cover: the file is not a JSON object")
            years, annual, told["cover"] = apply_covers(years, given)
        sums = summary(years, periods)
        sums["curves"]["AEP"] = [Curve.of(annual).level(p) for p in periods if 1 < p <= years.n_years]
        sums["aal"], sums["sd"] = float(annual.mean()), float(annual.std(ddof=1)) if years.n_years > 1 else float("nan")
        sums["aal_se"] = sums["sd"] / math.sqrt(years.n_years)
    for name, levels in sums.pop("curves").items():
        lines += [{"curve": name, **asdict(level)} for level in levels]
    _write(out, lines)
    if ylt_out is not None:
        columns = {"year": years.year + 1, "loss": years.loss}
        if years.day is not None:
            columns["day"] = years.day
        pcsv.write_csv(pa.table(columns), ylt_out)
    return json.loads(json.dumps({**sums, **told, "lines": lines}).replace("NaN", "null"))  # type: ignore[no-any-return]


def _write(out: Path, lines: list[dict[str, Any]]) -> None:
    names = ("curve", "return_period", "loss", "low", "high", "tvar", "tvar_se")
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(lines)
    except OSError as error:
        raise InvalidInput(f"--out: {out}: {error.strerror}") from error
