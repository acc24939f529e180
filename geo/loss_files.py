"""From files to losses with uncertainty and back to files: one footprint, or a set of events."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InvalidInput
from geo import chance, field_files, loss
from geo.curve_choice import CURVE_SIGMA
from geo.damage_spread import DamageSpread
from geo.estimate import FIRST_OF_YEAR, Estimate, Places, chain_of, estimate, tiv_reconciliation
from geo.exposure import cents_text
from geo.flood_choice import DEFAULT, FloodChoice
from geo.hazard import Layer, read_layers
from geo.hazard_field import HazardField
from geo.imports import read_json
from geo.loss import PERSPECTIVES, Correlation, EventLoss, Mapper, Uncertainty
from geo.oasis_model import OasisModel
from geo.terms_files import LossBook

Tick = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to compute; names as of the options of `tocsin loss`."""

    loaded: LossBook
    footprint: Path | None = None
    unit: str | None = None
    depth: Path | None = None
    depth_unit: str | None = None
    shake: Path | None = None
    wind: Path | None = None
    wind_model: str = "H08"
    model: Path | None = None
    rate: float = 1.0
    samples: int = 100
    seed: int = 1
    curve_sigma: float | None = None
    sigma_ln: float | None = None
    damage_spread: float = 0.3
    event_correlation: float | None = None
    local_correlation: float | None = None
    neighbourhood_km: float = 2.0
    by: str | None = None
    against: Path | None = None  #: an earlier version of the hazard file
    flood: FloodChoice = DEFAULT

    def assumed(self, unit: str | None) -> Uncertainty:
        """The assumptions; defaults of the unit where nothing else was asked for."""
        found = Uncertainty(
            n_samples=self.samples, seed=self.seed, neighbourhood_km=self.neighbourhood_km,
            damage=DamageSpread(spread=self.damage_spread),
            curve_sigma=self.curve_sigma if self.curve_sigma is not None else CURVE_SIGMA[unit or "damage_ratio"],
        )  # fmt: skip
        event, local = self.event_correlation, self.local_correlation
        if event is not None or local is not None or unit is None:
            # a model's own tables say nothing of correlation: places draw for themselves unless it is asked for
            own = found.damage_correlation if unit is not None else Correlation()
            own = Correlation(own.event if event is None else event, own.local if local is None else local)
            found = replace(found, damage_correlation=own)
        return found


@dataclass(frozen=True)
class _Event:
    id: str
    rate: float
    field: HazardField


def run(
    request: Request,
    *,
    mapper: Mapper = loss.in_process,
    progress: Tick | None = None,
    out: Path,
    by_out: Path | None = None,
    policies_out: Path | None = None,
    locations_out: Path | None = None,
    elt_out: Path | None = None,
    ylt_out: Path | None = None,
) -> dict[str, Any]:
    """Computes and writes; the sums for people and programs. Raises what reading and computing raise."""
    if request.model is not None:
        if request.against is not None:
            raise InvalidInput("--against: it is an earlier version of one footprint, and a model is a set of events")
        return _run_model(request, mapper, progress, out, elt_out, ylt_out)
    events = _events(request)
    places = Places.of(request.loaded.book)
    if len(events) > 1:
        for name, path in (("--by-out", by_out), ("--policies-out", policies_out), ("--locations-out", locations_out),
                           ("--against", request.against)):  # fmt: skip
            if path is not None:
                raise InvalidInput(f"{name}: it tells of one event, and there are {len(events)}")
        return _run_set(request, events, places, mapper, progress, out, elt_out)
    event = events[0]
    assumed = request.assumed(event.field.unit)
    tick = (lambda done: progress(done, assumed.n_samples)) if progress is not None else None
    found = estimate(
        request.loaded, event.field, places, event=_number(event.id), assumed=assumed, by=request.by, mapper=mapper,
        flood=request.flood, progress=tick,
    )  # fmt: skip
    told = found.as_json()
    told["reconciliation"] = money_text(tiv_reconciliation(request.loaded.book, found))
    if request.against is not None:
        told["difference"] = _difference(request, request.against, event, places, found, mapper)
    blank = dict.fromkeys(("mean", "mean_se", "sd", "p5", "p50", "p95"), "")  # unknown is no zero
    _write(out, [{"perspective": p, **(told["losses"][p] or blank)} for p in PERSPECTIVES], "--out")
    if by_out is not None and request.by is not None:
        _write(by_out, found.groups(request.by), "--by-out")
    if policies_out is not None:
        _write(policies_out, found.policies(), "--policies-out")
    if locations_out is not None:
        _write(locations_out, _locations(found), "--locations-out")
    if elt_out is not None:
        one = EventLoss(1, event.rate, found.samples.total, found.felt.exposed)
        _write_elt(elt_out, [one], {1: event.id})
    return told


def _difference(
    request: Request, against: Path, event: _Event, places: Places, found: Estimate, mapper: Mapper
) -> dict[str, Any]:
    """What a new version of a footprint changes: the same draws for both, so that the difference is the hazard's."""
    kind = next(name for name in ("footprint", "depth", "shake", "wind") if getattr(request, name) is not None)
    changed: dict[str, Any] = {kind: against, "against": None}
    older = _events(replace(request, **changed))
    if len(older) > 1:
        raise InvalidInput(f"--against: {against.name} holds {len(older)} events, and one is asked for")
    if older[0].field.unit != event.field.unit:
        raise InvalidInput(
            f"--against: {against.name} is in {older[0].field.unit}, the new version in {event.field.unit}"
        )
    before = estimate(
        request.loaded, older[0].field, places, event=_number(event.id), assumed=request.assumed(event.field.unit),
        mapper=mapper, with_contributions=False, flood=request.flood,
    )  # fmt: skip
    told: dict[str, Any] = {
        "n_hit": found.n_hit - before.n_hit,
        "exposed_tiv": found.exposed_tiv - before.exposed_tiv,
        "tiv_with_loss": found.felt.exposed - before.felt.exposed,
    }
    if not (found.told and before.told):  # an unknown loss has no difference
        return told | dict.fromkeys(PERSPECTIVES)
    for i, perspective in enumerate(PERSPECTIVES):
        change = found.samples.total[i] - before.samples.total[i]
        told[perspective] = {"before": float(before.samples.total[i].mean()), **loss.quantiles(change)}
    return told


def money_text(reconciled: Mapping[str, Any]) -> dict[str, Any]:
    """Hundredths of a reconciliation as decimal text."""
    return {
        currency: {
            "tiv_in": cents_text(one["tiv_in"]),
            "parts": {name: cents_text(v) for name, v in one["parts"].items()},
            "difference": cents_text(one["difference"]),
        }
        for currency, one in reconciled.items()
    }


def _number(text: str) -> int:
    """A number for an event's draws: its own where the id is one."""
    return int(text) if text.isdigit() and len(text) < 18 else int(chance.keys_of([text])[0])


def _events(request: Request) -> list[_Event]:
    if request.depth is not None:
        if request.depth_unit is None:
            raise InvalidInput("--depth-unit: say whether the raster is in m or ft")
        field: HazardField = field_files.depth_raster(request.depth, request.depth_unit, request.sigma_ln)
        return [_Event("1", request.rate, field)]
    if request.shake is not None:
        return [_Event("1", request.rate, field_files.shakemap(request.shake))]
    if request.wind is not None:
        return [_Event("1", request.rate, field_files.track(request.wind, request.wind_model))]
    assert request.footprint is not None
    path = request.footprint
    sets: dict[str, list[Layer]] = {}
    rates: dict[str, float] = {}
    for layer in read_layers(read_json(path), name=path.name, unit=request.unit):
        name, given = str(layer.given.get("event_id") or "1"), layer.given.get("rate")
        sets.setdefault(name, []).append(layer)
        if given in (None, ""):
            continue
        where = f"{path.name}: features[{layer.number}].rate"
        try:
            value = float(str(given))
        except ValueError:
            raise InvalidInput(f"{where}: {given!r} is not a number") from None
        if not 0 < value < 1e6:
            raise InvalidInput(f"{where}: {value:g} is no rate of events a year")
        if rates.setdefault(name, value) != value:
            raise InvalidInput(f"{where}: event {name!r} has two rates")
    missing = [name for name in sets if name not in rates]
    if len(sets) > 1 and missing:
        raise InvalidInput(f"{path.name}: rate: event {missing[0]!r} has none, and there are {len(sets)} events")
    found = []
    for name, mine in sets.items():
        field_ = field_files.polygon_field(mine, request.sigma_ln, name=path.name)
        if field_ is None:
            raise InvalidInput(
                f"{path.name}: event {name!r}: no feature has an intensity: its loss is unknown, not zero"
            )
        found.append(_Event(name, rates.get(name, request.rate), field_))
    return found


def _run_set(
    request: Request, events: Sequence[_Event], places: Places, mapper: Mapper, progress: Tick | None, out: Path,
    elt_out: Path | None,
) -> dict[str, Any]:  # fmt: skip
    if request.by is not None:
        raise InvalidInput("--by: it tells of one event, and there is a set")
    done: list[EventLoss] = []
    names: dict[int, str] = {}
    unknown: dict[str, tuple[int, float]] = {}
    for number, event in enumerate(events, start=1):
        found = estimate(
            request.loaded, event.field, places, event=_number(event.id), assumed=request.assumed(event.field.unit),
            mapper=mapper, with_contributions=False, flood=request.flood,
        )  # fmt: skip
        for reason, (n, tiv) in found.unknown.items():
            before = unknown.get(reason, (0, 0.0))
            unknown[reason] = (max(before[0], n), max(before[1], tiv))
        done.append(EventLoss(number, event.rate, found.samples.total, found.felt.exposed))
        names[number] = event.id
        if progress is not None:
            progress(number, len(events))
    if elt_out is not None:
        _write_elt(elt_out, done, names)
    return _told_set(request, done, unknown, out)


def _run_model(
    request: Request, mapper: Mapper, progress: Tick | None, out: Path, elt_out: Path | None, ylt_out: Path | None
) -> dict[str, Any]:
    assert request.model is not None
    book = request.loaded.book
    model = OasisModel.read(request.model)
    assumed = request.assumed(None)
    over = model.events(book, Places.of(book), assumed)
    chain = chain_of(request.loaded)
    done: list[EventLoss] = []
    felt: list[loss.GroundUp] = []
    n_events = len(np.unique(model.event))
    for number, event in enumerate(over, start=1):
        rate = over.rate_per_year(event.event)
        if rate > 0:
            total = loss.simulate(chain, event, assumed.n_samples, mapper=mapper).total
            done.append(EventLoss(event.event, rate, total, event.exposed))
            felt.append(event)
        if progress is not None:
            progress(number, n_events)
    if elt_out is not None:
        _write_elt(elt_out, done, {e.event: str(e.event) for e in done})
    in_years, occurrences, run_of_years = done, model.occurrences, None
    if chain.annual:
        run_of_years = loss.year_losses(chain, felt, model.occurrences, assumed.n_samples, progress)
        in_years, occurrences = run_of_years.events, run_of_years.occurrences
    told = _told_set(request, done, over.unknown, out, _year_sums(in_years, occurrences) if chain.annual else None)
    told["n_years"] = occurrences.n_years * assumed.n_samples
    if run_of_years is not None:
        told["reinstatement_premium_aal"] = float(run_of_years.premium.sum()) / told["n_years"]
    if ylt_out is not None:
        for perspective in PERSPECTIVES:
            years, sample = loss.every_sample(in_years, occurrences, perspective, assumed.n_samples)
            assert years.event is not None
            ids = years.event if run_of_years is None else run_of_years.event_id[years.event]
            columns = {"year": years.year + 1, "event_id": ids, "sample": sample + 1, "loss": years.loss}
            if years.day is not None:
                columns["day"] = years.day
            if run_of_years is not None and perspective == "ri":
                columns["reinstatement_premium"] = run_of_years.premium[years.event, sample]
            rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
            _write(_named(ylt_out, perspective), rows, "--ylt-out", tuple(columns))
    return told


def _steps(loaded: LossBook, insured_aal: float) -> dict[str, Any]:
    """Stated steps of an event set: what is a share of the average insured loss with its amount."""
    told: dict[str, Any] = {}
    if loaded.debris_removal:
        told["debris_removal"] = {"share": loaded.debris_removal}
    if loaded.loss_adjustment:
        told["loss_adjustment"] = {"share": loaded.loss_adjustment, "aal": insured_aal * loaded.loss_adjustment}
    return told


def _year_terms(loaded: LossBook, by_year: bool) -> str | None:
    """What is done with terms that answer to the sum of a year; None where there are none."""
    if not loaded.annual:
        return None
    return "run out across the events of each year" if by_year else FIRST_OF_YEAR


def _year_sums(events: Sequence[EventLoss], occurrences: loss.Occurrences) -> list[tuple[float, float]]:
    """(average annual loss, its standard error) of each perspective over all samples of all years."""
    found = []
    for i in range(len(PERSPECTIVES)):
        n_samples = events[0].total.shape[1] if events else 1
        annual = np.zeros((occurrences.n_years, n_samples))
        for event in events:
            annual[occurrences.year[event.event]] += event.total[i]
        found.append((float(annual.mean()), float(annual.std()) / float(np.sqrt(annual.size))))
    return found


def _told_set(
    request: Request, done: Sequence[EventLoss], unknown: Mapping[str, tuple[int, float]], out: Path,
    by_year: Sequence[tuple[float, float]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    book = request.loaded.book
    losses = {}
    for i, perspective in enumerate(PERSPECTIVES):
        aal = sum(e.rate_per_year * float(e.total[i].mean()) for e in done)
        # sampling error of the means alone: how often events happen is taken as given
        error = sum((e.rate_per_year**2) * float(e.total[i].var(ddof=1)) / e.total.shape[1] for e in done)
        se = float(np.sqrt(error))
        if by_year is not None:  # events of a year share its aggregates: their means do not add up
            aal, se = by_year[i]
        losses[perspective] = {"aal": aal, "aal_se": se, "n_events": len(done)}
    _write(out, [{"perspective": p, **losses[p]} for p in PERSPECTIVES], "--out")
    return {
        "currency": book.currency, "losses": losses, "n_samples": request.samples, "seed": request.seed,
        "demand_surge": [list(band) for band in request.loaded.surge],
        "year_terms": _year_terms(request.loaded, by_year is not None),
        **_steps(request.loaded, losses["il"]["aal"]),
        "unknown": {reason: {"n_items": n, "tiv": tiv} for reason, (n, tiv) in sorted(unknown.items())},
        "left_out": {
            reason: {"n": n, **({} if np.isnan(tiv) else {"tiv": tiv})} for reason, (n, tiv) in book.left_out.items()
        },
    }  # fmt: skip


def _locations(found: Estimate) -> list[dict[str, Any]]:
    table = found.book.location
    texts = {name: table.strings(name) for name in ("PortNumber", "AccNumber", "LocNumber")}
    rows = [
        {**{name: column[row] for name, column in texts.items()}, "intensity": float(found.intensity[row]),
         "unit": found.unit, "mean_gul": gul, "mean_il": il, "mean_ri": ri}
        for row, (gul, il, ri) in found.by_location().items()
    ]  # fmt: skip
    return sorted(rows, key=lambda r: -r["mean_il"])


def _named(path: Path, perspective: str) -> Path:
    return path.with_name(f"{path.stem}_{perspective}{path.suffix or '.csv'}")


def _write_elt(path: Path, events: Sequence[EventLoss], names: Mapping[int, str]) -> None:
    for perspective in PERSPECTIVES:
        table = loss.event_table(events, perspective)
        rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
        for row in rows:
            row["event_id"] = names[row["event_id"]]
        _write(_named(path, perspective), rows, "--elt-out", tuple(table))


def _write(path: Path, rows: Iterable[Mapping[str, Any]], option: str, header: Sequence[str] = ()) -> None:
    rows = iter(rows)
    first = next(rows, None)
    names = tuple(first) if first is not None else header
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            if first is not None:
                writer.writerow(first)
                writer.writerows(rows)
    except OSError as error:
        raise InvalidInput(f"{option}: {path}: {error.strerror}") from error
