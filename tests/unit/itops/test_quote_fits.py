"""Quotes that stand on fits of other records, the kernels of common shocks in them, and quotes of an earlier model."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import Conflict
from itops import experience, reference, restoration, underwrite
from itops.book import read_book
from itops.fit_use import document_sha256
from itops.fleet import read_fleet
from itops.frequency import Evidence, FrequencyPrior, update
from itops.incident import RepairTimes, read_incidents
from itops.severity import Updated
from itops.struck import Part, lost_per_hour
from itops.submission import BadSubmission, submission_from
from itops.underwrite import load_book, load_priors, price_inputs, price_request, priced_again, same
from tocsin.cli import app

GOLDEN = Path(__file__).parents[2] / "golden" / "itops_quotes"


def sent(name: str = "data_centre", **more: Any) -> tuple[dict[str, Any], str, str]:
    submission, fleet, incidents = reference.portfolio(name, load_priors()[0], scale=0.1)
    return json.loads(json.dumps(submission)) | more, fleet, incidents


@lru_cache(maxsize=4)
def systems_fit(rate: float = 0.4, until: str = "2025-12-31") -> dict[str, Any]:
    """A fleet fit whose two systems are the reference portfolio's sites, simulated at this rate."""
    rng = np.random.default_rng(8)
    lines = []
    for site in ("DC-1", "DC-2"):
        for _ in range(rng.poisson(rate * 400)):
            at = datetime(2022, 1, 1) + timedelta(days=float(rng.uniform(0, 4 * 365.0)))  # noqa: DTZ001
            lines.append(f"{site},{at.isoformat(sep=' ', timespec='seconds')}")
    exposure = "system,nodes,node_years,prod_month_mode\nDC-1,100,400,2022-01\nDC-2,100,400,2022-01\n"
    return experience.fit("system,started\n" + "\n".join(lines) + "\n", exposure, date.fromisoformat(until))


@lru_cache(maxsize=4)
def repair_fit(hours: float = 30.0) -> dict[str, Any]:
    """Repairs at both sites, all of this length."""
    begin = datetime(2023, 1, 1)  # noqa: DTZ001
    lines = [
        f"{begin + timedelta(days=2 * k)},{begin + timedelta(days=2 * k, hours=hours)},disk,DC-{1 + k % 2}"
        for k in range(400)
    ]
    return restoration.fit("opened,restored,cause,site\n" + "\n".join(lines) + "\n", date(2025, 12, 31))


def fits(**more: Any) -> dict[str, Any]:
    return {
        "fleet": [{"device_class": "server", "document": systems_fit(), "unit": "site"} | more],
        "repair": [{"device_class": "server", "document": repair_fit()} | more],
    }


def test_a_quote_stands_on_the_fits_it_names() -> None:
    submission, fleet, incidents = sent()
    plain = price_request(submission, fleet, incidents).result()
    with_fits = price_request(submission | {"fits": fits()}, fleet, incidents)
    told = with_fits.result()
    assert told["model_version"] == "itops-2026.5"
    rates, repairs = told["fits"]
    assert (rates["kind"], rates["version"], rates["unit"], rates["n_unknown"]) == ("fleet", "fleet-2", "site", 0)
    assert rates["sha256"] == document_sha256(systems_fit())
    assert 0.3 < rates["rate_per_year"] < 0.5
    assert 0 < rates["share"] < 1
    assert (repairs["kind"], repairs["version"]) == ("repair", "repair-2")
    assert repairs["share"] > 0.01

    def server(result: dict[str, Any]) -> dict[str, Any]:
        return next(c for c in result["classes"] if c["device_class"] == "server")

    # The class's rate moves from its own posterior towards the fit, by credibility and not all the way.
    assert server(plain)["rate_per_year"] < server(told)["rate_per_year"] < rates["rate_per_year"]
    assert server(told)["frequency_prior_share"] < server(plain)["frequency_prior_share"]
    assert told["prior_share"] < plain["prior_share"]
    assert told["expected_loss"] > plain["expected_loss"]
    steps = {item["step"]: item["amount"] for item in told["build_up"]}
    assert steps["fit_of_rates"] > 0
    assert steps["fit_of_repair_times"] > 0
    assert sum(steps.values()) == pytest.approx(told["expected_loss"], abs=0.05)
    named = [a for a in told["assumptions"] if a["name"].startswith("fit of")]
    assert len(named) == 2
    assert all(rates["sha256"][:16] in a["basis"] or repairs["sha256"][:16] in a["basis"] for a in named)
    again = price_inputs(json.loads(json.dumps(with_fits.inputs)))
    assert same(again.result(), told)
    assert again.result()["premium"] == told["premium"]


def test_what_a_fit_already_knows_is_not_counted_twice() -> None:
    submission, fleet, incidents = sent()
    apart = price_request(submission | {"fits": fits()}, fleet, incidents).quote.fitted.classes["server"]
    together = price_request(submission | {"fits": fits(same_record=True)}, fleet, incidents).quote.fitted
    once = together.classes["server"]
    assert once.frequency.rate_per_year == pytest.approx(once.fitted_rate)
    assert once.frequency.n_incidents == apart.frequency.n_incidents
    assert once.frequency.shape < apart.frequency.shape
    assert once.repair.n_tickets == 0 < apart.repair.n_tickets


def test_a_site_the_fit_does_not_have_gets_the_fits_collective() -> None:
    submission, fleet, incidents = sent()
    submission["sites"] = [site | {"site": site["site"].replace("DC-2", "DC-9")} for site in submission["sites"]]
    found = price_request(submission | {"fits": fits()}, fleet.replace("DC-2", "DC-9"), incidents).result()["fits"]
    assert all(0 < fit["n_unknown"] < fit["n_devices"] for fit in found)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"device_class": "toaster"}, "fits.fleet.0.device_class", "is not a known class"),
        ({"document": {"model_version": "fleet-1"}}, "fits.fleet.0.document", "is not a fit of"),
        ({"document": None}, "fits.fleet.0", "needs file"),
        ({"unit": "colour"}, "fits.fleet.0.unit", "Input should be"),
        ({"documents": {}}, "fits.fleet.0.documents", "is not a field"),
    ],
)
def test_a_fit_that_cannot_be_used_is_named(change: dict[str, Any], field: str, reason: str) -> None:
    submission, fleet, incidents = sent()
    item = {"device_class": "server", "document": {"model_version": "fleet-2", "shape": "systems"}} | change
    item = {name: value for name, value in item.items() if value is not None}
    with pytest.raises(BadSubmission) as refused:
        price_request(submission | {"fits": {"fleet": [item]}}, fleet, incidents)
    assert any(at == field and reason in why for at, why in refused.value.problems), refused.value.problems


def test_a_fit_from_after_the_as_of_date_is_refused() -> None:
    submission, fleet, incidents = sent()
    late = systems_fit() | {"as_of": "2027-01-01"}
    with pytest.raises(BadSubmission, match="it was not known then"):
        price_request(
            submission | {"fits": {"fleet": [{"device_class": "server", "document": late}]}}, fleet, incidents
        )


def test_the_command_reads_fits_beside_the_submission(tmp_path: Path) -> None:
    submission, fleet, incidents = sent()
    (tmp_path / "fleet.csv").write_text(fleet)
    (tmp_path / "incidents.csv").write_text(incidents)
    (tmp_path / "rates.json").write_text(json.dumps(systems_fit()))
    (tmp_path / "repair.json").write_text(json.dumps(repair_fit()))
    named = {"fleet": [{"device_class": "server", "file": "rates.json"}], "repair": [{"file": "repair.json"}]}
    (tmp_path / "s.json").write_text(json.dumps(submission | {"fits": named}))
    run = CliRunner(env={"TOCSIN_HOME": str(tmp_path / "home")})
    told = run.invoke(app, ["quote", str(tmp_path / "s.json"), "--json", "--pdf", str(tmp_path / "o.pdf")])
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout)
    assert {fit["kind"] for fit in result["fits"]} == {"fleet", "repair"}
    assert len([fit for fit in result["fits"] if fit["kind"] == "repair"]) == len(result["classes"])
    again = run.invoke(app, ["quote", "rerun", result["quote_id"], "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["premium"] == result["premium"]
    shown = run.invoke(app, ["quote", str(tmp_path / "s.json")])
    assert "[fit] fleet for server: fleet-2" in shown.stdout
    (tmp_path / "repair.json").write_text("{}")
    bad = run.invoke(app, ["quote", str(tmp_path / "s.json")])
    assert bad.exit_code != 0
    assert "fits.repair.0.document" in str(bad.exception)


def test_the_fits_of_the_store_are_taken_where_none_is_named() -> None:
    submission, fleet, incidents = sent()
    wire = submission_from(submission | {"fits": fits(source="store")}, known_classes=load_book()[0].priors.classes())
    stored = wire.fits
    assert len(price_request(submission, fleet, incidents, stored).result()["fits"]) == 2
    named = {"fleet": [{"device_class": "server", "document": systems_fit(0.2), "unit": "site"}]}
    told = price_request(submission | {"fits": named}, fleet, incidents, stored).result()["fits"]
    assert [(fit["kind"], fit["source"]) for fit in told] == [("fleet", "submission"), ("repair", "store")]
    later = [replace(use, document={**(use.document or {}), "as_of": "2027-05-01"}) for use in stored]
    assert price_request(submission, fleet, incidents, later).result()["fits"] == []


def test_telemetry_of_a_fit_makes_the_order_and_its_effect() -> None:
    rng = np.random.default_rng(5)
    lines = []
    for i in range(1500):
        value = 40 if i % 10 == 0 else 0
        fails = int(rng.random() < (0.6 if value else 0.03))
        day = date(2023, 1, 1) + timedelta(days=int(rng.integers(0, 700)))
        lines.append(f"d{i},Alder-disk-1,Alder,{day},0,{int(rng.integers(500, 4000))},{fails},{value}")
    text = "drive_id,model,manufacturer,cal_start,tstart,tstop,fails,smart_5\n" + "\n".join(lines) + "\n"
    document = experience.fit(text, text, None)
    submission, fleet, incidents = sent()
    asked = submission | {
        "fits": {"fleet": [{"device_class": "disk", "document": document}]},
        "alarms": [{"asset_id": "disk-00000", "signal": "smart_5", "value": 40}],
    }
    priced = price_request(asked, fleet, incidents)
    (order,) = priced.result()["work_orders"]
    (device,) = [d for d in priced.quote.fitted.devices if d.asset.asset_id == "disk-00000"]
    assert order["basis"] == "fit"
    assert order["hazard_before"] == pytest.approx(device.alarm_of_fit, rel=1e-5)
    assert order["hazard_before"] > 3 > 1.0 == order["hazard_after"]
    assert priced.result()["after_work_orders"]["saves"] > 0


def test_evidence_of_a_fit_is_failures_in_device_years() -> None:
    prior, evidence = FrequencyPrior(rate_per_year=0.1, weight_years=50), Evidence(rate_per_year=0.3, cv2=0.1)
    found = update(prior, 6, 80.0, evidence)
    assert found.shape == pytest.approx(5 + 10 + 6)
    assert found.rate_per_year == pytest.approx((5 + 10 + 6) / (50 + 10 / 0.3 + 80))
    assert found.prior_share + found.fit_share < 1
    assert update(prior, 6, 80.0) == update(prior, 6, 80.0, None)


def test_what_rests_on_the_lowest_prior_is_told_through_a_fit() -> None:
    base = load_priors()[0].repair["default"].law
    first = RepairTimes(hours=np.array([1.0, 4.0, 9.0, 30.0]), restored=np.array([True, True, False, True]))
    own = RepairTimes(hours=np.array([2.0, 12.0]), restored=np.array([True, True]))
    fit = Updated(base, 20.0, first)
    law = Updated(fit, 5.0, own)
    # At 0 hours: what of the weight is the book's, 5 / 7 x 20 / 24.
    assert law.prior_part().survival(np.zeros(1))[0] == pytest.approx(5 / 7 * 20 / 24)
    at = np.array([0.5, 3.0, 8.0, 20.0, 72.0])
    grid = np.linspace(0.0, 72.0, 200_001)
    area = np.concatenate([[0.0], np.cumsum(np.diff(grid) * law.prior_part().survival((grid[1:] + grid[:-1]) / 2))])
    assert law.prior_part().limited_mean(at) == pytest.approx(np.interp(at, grid, area), rel=1e-4)
    assert np.all(law.prior_part().limited_mean(at) < law.limited_mean(at))


def test_what_a_shock_takes_down_is_the_law_over_all_ways_to_be_hit() -> None:
    parts = (Part(n=6, per_hour=100.0, hit_probability=0.3), Part(n=3, per_hour=250.0, hit_probability=0.3))
    brute: dict[float, float] = {}
    for a in range(7):
        for b in range(4):
            lost = min(100.0 * a + 250.0 * b, 700.0)
            p = comb(6, a) * 0.3**a * 0.7 ** (6 - a) * comb(3, b) * 0.3**b * 0.7 ** (3 - b)
            brute[lost] = brute.get(lost, 0.0) + p
    told = lost_per_hour("firmware", parts, 700.0)
    assert sum(p for _, p in told) == pytest.approx(1.0)
    assert sum(x * p for x, p in told) == pytest.approx(sum(x * p for x, p in brute.items()), rel=1e-9)
    assert told[0] == pytest.approx((0.0, brute[0.0]))
    assert max(x for x, _ in told) <= 700.0 * (1 + 1e-12)
    variance = sum(x * x * p for x, p in told) - sum(x * p for x, p in told) ** 2
    exact = sum(x * x * p for x, p in brute.items()) - sum(x * p for x, p in brute.items()) ** 2
    assert 0.85 * exact < variance <= exact * (1 + 1e-9)
    assert lost_per_hour("site", (Part(n=4, per_hour=10.0, hit_probability=1.0),), 30.0) == ((30.0, 1.0),)


def test_a_shock_that_spares_everybody_is_no_outage() -> None:
    submission, fleet, incidents = sent()
    figures = price_request(submission, fleet, incidents).quote.figures
    group = next(iter(figures.builder.scopes("model").values()))
    told = figures.builder.lost("firmware", group, 0.15)
    assert sum(p for _, p, down in told if not down) == pytest.approx(0.85 ** len(group), rel=1e-9)
    assert sum(p for _, p, _ in told) == pytest.approx(1.0)
    layers = {row["shock"]: row for row in figures.builder.layers()}
    assert layers["firmware"]["variance_per_year"] > layers["firmware"]["failures_per_year"]


def test_a_declined_risk_shows_an_indication_and_no_offer(tmp_path: Path) -> None:
    submission, fleet, incidents = sent()
    known = {q["id"]: q["answers"] for q in load_book()[0].questionnaire["questions"]}
    worst = {name: max(answers, key=lambda a, n=name: float(known[n][a])) for name, answers in known.items()}
    priced = price_request(submission | {"questionnaire": worst}, fleet, incidents)
    told = priced.result()
    assert told["decision"] == "decline"
    assert told["offer"]["kind"] == "indication"
    assert [rule["rule"] for rule in told["offer"]["because"]] == ["score-decline"]
    assert any("indication and not an offer" in note for note in told["notes"])
    assert price_request(submission, fleet, incidents).result()["offer"]["kind"] != "indication"


@pytest.mark.parametrize("made_by", ["itops-2026.2", "itops-2026.3", "itops-2026.4"])
@pytest.mark.parametrize("name", reference.NAMES)
def test_quotes_of_the_earlier_models_come_out_to_the_cent(name: str, made_by: str) -> None:
    """Made by the release that had this model, with the book of that time; kept whole."""
    file = GOLDEN / f"model_{made_by.removeprefix('itops-').replace('.', '_')}.json"
    stored = json.loads(file.read_text(encoding="utf-8"))[name]
    text = (GOLDEN / ("book_2026_4.json" if made_by == "itops-2026.4" else "book_2026_1.json")).read_text("utf-8")
    book = read_book(text)
    submission, fleet_csv, incidents_csv = sent(name)
    asked_then = {question["id"] for question in book.questionnaire["questions"]}
    answers = {name: answer for name, answer in submission["questionnaire"].items() if name in asked_then}
    wire = submission_from(submission | {"questionnaire": answers}, known_classes=book.priors.classes())
    fleet = read_fleet(fleet_csv, known_classes=book.priors.classes())
    incidents = read_incidents(incidents_csv, fleet=fleet, time_zone=wire.time_zone)
    inputs = underwrite._price(wire, fleet, incidents, book, text, made_by).inputs
    again = priced_again(inputs, stored["result"], stored["inputs_sha256"], made_by, quote_id=name)
    assert again.result()["premium"] == stored["result"]["premium"]
    assert again.quote.model_version == made_by
    with pytest.raises(Conflict):
        priced_again(
            inputs, stored["result"] | {"premium": stored["result"]["premium"] + 0.01}, stored["inputs_sha256"],
            made_by, quote_id=name,
        )  # fmt: skip
    with pytest.raises(Conflict):
        priced_again(inputs, stored["result"], stored["inputs_sha256"], "itops-2025.1", quote_id=name)
