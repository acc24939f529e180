"""A quote from its tables: what it says, that it repeats, and what it refuses."""

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from itops.policy import BadTerms
from itops.quote import NothingInForce
from itops.submission import BadSubmission, NoAsOfDate, NoExposureWindow
from itops.table import BadTable
from itops.underwrite import UnreadableFile, price_files, price_inputs

ROOT = Path(__file__).resolve().parents[3]


def submission(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "insured": "Example Hosting",
        "fleet": "fleet.csv",
        "incidents": "incidents.csv",
        "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"},
        "as_of": "2026-01-15",
        "policy_period": {"from": "2026-02-01", "to": "2027-02-01"},
        "time_zone": "Asia/Shanghai",
        "currency": "CNY",
        "covers": [
            {
                "cover": "business_interruption",
                "revenue_per_hour": 200000,
                "affected_share": {"server": 0.01, "switch": 0.1},
                "waiting_period_h": 8,
                "waiting_period_type": "retention",
                "indemnity_period_h": 72,
                "deductible": 0,
                "limit": 500000,
            }
        ],
        "expenses": {"acquisition": 0.15, "administration": 0.10, "profit": 0.05},
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not None}


def cover(**changes: Any) -> list[dict[str, Any]]:
    (made,) = submission()["covers"]
    return [{name: value for name, value in {**made, **changes}.items() if value is not None}]


FLEET_HEADER = "asset_id,device_class,commissioned_on,retired_on,site\n"
FLEET_ROWS = [
    f"d{k:03d},{'switch' if k % 5 == 0 else 'server'},2022-01-{1 + k % 28:02d},,S{k % 3}\n" for k in range(100)
]
INCIDENT_HEADER = "asset_id,opened,restored,cause\n"
INCIDENT_ROWS = [
    f"d{k:03d},2024-{1 + k % 12:02d}-{1 + k % 27:02d} 0{k % 10}:15,2024-{1 + k % 12:02d}-{1 + k % 27:02d} "
    f"{11 + k % 13}:{k % 60:02d},cause {k % 4}\n"
    for k in range(0, 100, 3)
] + ["d005,2026-01-14 10:00,,hung\n", "d010,2025-12-30 10:00,,hung\n", "d011,2023-05-01 10:00,2023-05-01 11:00,\n"]


def written(folder: Path, asked: dict[str, Any], fleet: str | None = None, incidents: str | None = None) -> Path:
    (folder / "fleet.csv").write_text(fleet if fleet is not None else FLEET_HEADER + "".join(FLEET_ROWS))
    (folder / "incidents.csv").write_text(
        incidents if incidents is not None else INCIDENT_HEADER + "".join(INCIDENT_ROWS)
    )
    path = folder / "submission.json"
    path.write_text(json.dumps(asked))
    return path


def result_of(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    return price_files(written(folder, asked)).result()


def test_the_quote_says_what_it_stands_on(tmp_path: Path) -> None:
    result = result_of(tmp_path, submission())
    assert result["premium"] > result["expected_loss"] > 0
    assert result["quantile_99"] > result["expected_loss"]
    assert result["tail_mean"]["amount"] >= result["quantile_99"]
    assert 0 < result["prior_share"] < 1
    assert result["exposure_window"] == {"from": "2024-01-01", "to": "2026-01-01"}
    assert result["as_of"] == "2026-01-15"
    assert len(result["inputs_sha256"]) == 64
    assert result["model_version"]
    kinds = {item["kind"] for item in result["assumptions"]}
    assert {"source", "judgement", "declared", "limit"} <= kinds
    assert all(item["basis"] for item in result["assumptions"])
    servers = next(item for item in result["classes"] if item["device_class"] == "server")
    switches = next(item for item in result["classes"] if item["device_class"] == "switch")
    # Incidents of 2023 and of January 2026 lie outside the window; the one of 30 December is open.
    assert servers["n_incidents"] + switches["n_incidents"] == 34 + 1
    assert switches["n_open"] == 1
    assert "2 incidents opened outside the exposure window were not counted" in result["notes"]
    assert servers["exposure_years"] == pytest.approx(80 * 731 / 365.25, abs=1e-6)
    assert servers["years_in_force"] == pytest.approx(80 * 365 / 365.25, abs=1e-6)


def test_the_waterfall_adds_up_to_the_cent(tmp_path: Path) -> None:
    quote = price_files(written(tmp_path, submission())).quote
    w = quote.waterfall
    parts = (
        w.expected_loss, w.experience, w.loss_adjustment, w.service_cost, w.risk_load, w.acquisition, w.administration, w.profit
    )  # fmt: skip
    assert sum((part.amount for part in parts), Decimal(0)) == w.technical_premium.amount
    expected = (w.expected_loss.amount * Decimal("1.08") + w.risk_load.amount) / Decimal("0.70")
    assert abs(expected - w.technical_premium.amount) <= Decimal("0.02")
    assert w.risk_load.amount == pytest.approx(Decimal("0.1") * Decimal(quote.tail_mean - quote.expected_loss), abs=1)


def test_the_expected_loss_is_the_sum_over_classes_and_covers(tmp_path: Path) -> None:
    availability = {
        "cover": "system_availability", "restoration_target_h": 4, "compensation_per_breach": 200,
        "compensation_per_hour": 50, "limit": 5000,
    }  # fmt: skip
    result = result_of(tmp_path, submission(covers=[*cover(), availability]))
    shocks = sum(amount for cause, amount in result["causes"].items() if cause != "attritional")
    alone = sum(item["expected_loss"] for item in result["classes"])
    assert shocks > 0
    assert alone + shocks == pytest.approx(result["expected_loss"], abs=0.05)
    assert sum(item["expected_loss"] for item in result["covers"]) == pytest.approx(result["expected_loss"], abs=0.03)
    for item in result["covers"]:
        assert 0 < item["expected_failures"] <= item["expected_ground_up"]


def test_row_order_spelling_and_file_names_change_nothing(tmp_path: Path) -> None:
    first = result_of(tmp_path, submission())
    path = written(
        tmp_path,
        submission(covers=cover(revenue_per_hour="200000.00", limit="5e5")),
        fleet=FLEET_HEADER + "".join(reversed(FLEET_ROWS)),
        incidents=INCIDENT_HEADER + "".join(reversed(INCIDENT_ROWS)),
    )
    assert price_files(path).result() == first


def test_any_input_moves_the_hash(tmp_path: Path) -> None:
    first = result_of(tmp_path, submission())["inputs_sha256"]
    seen = {
        result_of(tmp_path, changed)["inputs_sha256"]
        for changed in (
            submission(as_of="2026-01-16"),
            submission(insured="Another"),
            submission(covers=cover(waiting_period_h=9)),
            submission(expenses={"acquisition": 0.15, "administration": 0.10, "profit": 0.06}),
        )
    }
    path = written(tmp_path, submission(), incidents=INCIDENT_HEADER + "".join(INCIDENT_ROWS[1:]))
    seen.add(price_files(path).result()["inputs_sha256"])
    assert len(seen | {first}) == 6


def test_another_process_with_other_threads_quotes_the_same_cent(tmp_path: Path) -> None:
    path = written(tmp_path, submission())
    here = json.dumps(price_files(path).result(), sort_keys=True)
    code = (
        "import json, sys, pathlib; from itops.underwrite import price_files; "
        "print(json.dumps(price_files(pathlib.Path(sys.argv[1])).result(), sort_keys=True))"
    )
    for threads, seed in (("1", "0"), ("2", "4711")):
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "PYTHONHASHSEED": seed,
            "TZ": "America/Lima",
        }
        there = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_the_hash_is_the_sha256_of_the_stored_inputs(tmp_path: Path) -> None:
    priced = price_files(written(tmp_path, submission()))
    text = json.dumps(priced.inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == priced.quote.inputs_sha256


def test_no_premium_without_an_exposure_window(tmp_path: Path) -> None:
    with pytest.raises(NoExposureWindow, match="exposure_window: there is no premium without an exposure window"):
        price_files(written(tmp_path, submission(exposure_window=None)))


def test_no_premium_without_an_as_of_date(tmp_path: Path) -> None:
    with pytest.raises(NoAsOfDate, match="as_of: there is no premium without an as-of date"):
        price_files(written(tmp_path, submission(as_of=None)))


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"as_of": "2025-12-31"}, "as_of", "before the exposure window ends"),
        ({"exposure_window": {"from": "2026-01-01", "to": "2024-01-01"}}, "exposure_window", "not after its start"),
        ({"exposure_window": {"from": "2024-01-01"}}, "exposure_window.to", "missing"),
        ({"exposure_window": {"from": "0001-01-01", "to": "2026-01-01"}}, "exposure_window", "at most 50 years long"),
        ({"policy_period": {"from": "2026-02-01", "to": "9999-12-31"}}, "policy_period", "at most 5 years long"),
        (
            {"sites": [{"site": "nowhere", "flood_depth_m": {"100": 1}}]},
            "sites",
            "'nowhere' has no device of the fleet table",
        ),
        ({"policy_period": {"from": "2025-02-01", "to": "2027-02-01"}}, "policy_period.from", "already known"),
        ({"time_zone": "Mars/Base"}, "time_zone", "not a time zone"),
        ({"currency": "yuan"}, "currency", "'yuan' is not a currency of three capital letters"),
        ({"currency": "ABC"}, "currency", "'ABC' is not a currency of ISO 4217"),
        ({"currency": "XXX"}, "currency", "not a currency"),
        ({"currency": "USD", "usd_rate": 7.2}, "usd_rate", "for a policy in US dollars"),
        ({"usd_rate": "1e300"}, "usd_rate", "less than or equal to"),
        ({"as_of": 20260115}, "as_of", "YYYY-MM-DD"),
        ({"exposure_window": {"from": 0, "to": "2026-01-01"}}, "exposure_window.from", "YYYY-MM-DD"),
        ({"annual": {"limit": "1e-300"}}, "annual.limit", "greater than or equal to 0.01"),
        ({"annual": {"limit": True}}, "annual.limit", "true or false where a number is needed"),
        ({"covers": cover(waiting_period_h=True)}, "covers.0.waiting_period_h", "true or false"),
        (
            {"claims_history": [{"opened_on": "2025-01-01", "amount": 1, "cause": "gremlins"}]},
            "claims_history.0.cause",
            "'gremlins' is not a cause of a claim",
        ),
        (
            {"maintenance_contract": {"annual_price": "1e400", "scope": "all", "same_assets": True, "same_sla": True}},
            "maintenance_contract.annual_price",
            "less than or equal to",
        ),
        (
            {"options": [{"name": "o", "covers": {"business_interruption": {"limit": -1}}}]},
            "options.0.covers.business_interruption.limit",
            "greater than or equal to",
        ),
        ({"covers": []}, "covers", "at least 1"),
        ({"covers": cover(cover="meteor_strike")}, "covers.0.cover", "'meteor_strike' is not a cover that is priced"),
        ({"covers": cover(limit=100, deductible=200)}, "covers.0.limit", "limit is below deductible"),
        ({"covers": cover(waiting_period_h=72)}, "covers.0.waiting_period_h", "waiting_period_h must be"),
        ({"covers": cover(waiting_period_h=-1)}, "covers.0.waiting_period_h", "greater than or equal to 0"),
        ({"covers": cover(waiting_period_h=None)}, "covers.0.waiting_period_h", "is missing"),
        ({"covers": cover(revenue_per_hour="NaN")}, "covers.0.revenue_per_hour", "finite"),
        (
            {"covers": cover(affected_share={"server": 0.1, "abacus": 0.1})},
            "affected_share.abacus",
            "not a known class",
        ),
        ({"covers": cover() + cover()}, "covers", "comes twice"),
        ({"expenses": {"acquisition": 0.5, "administration": 0.3, "profit": 0.2}}, "expenses", "leave part"),
        ({"expense": {}}, "expense", "is not a field"),
    ],
)
def test_a_bad_submission_names_field_and_reason(
    tmp_path: Path, changes: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(BadSubmission) as caught:
        price_files(written(tmp_path, submission(**changes)))
    assert any(at.endswith(field) and reason in why for at, why in caught.value.problems), str(caught.value)


def test_a_class_that_a_cover_does_not_speak_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTerms, match="'switch'"):
        price_files(written(tmp_path, submission(covers=cover(affected_share={"server": 0.1}))))


def test_a_bad_table_stops_the_quote(tmp_path: Path) -> None:
    path = written(tmp_path, submission(), incidents=INCIDENT_HEADER + "d000,2024-05-01 10:00,2024-05-01 09:00,\n")
    with pytest.raises(BadTable, match="line 2, restored"):
        price_files(path)


def test_a_fleet_that_is_gone_is_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path, submission(), fleet=FLEET_HEADER + "x,server,2022-01-01,2025-06-01,\n", incidents=INCIDENT_HEADER
    )
    with pytest.raises(NothingInForce):
        price_files(path)


def test_an_absent_file_and_text_that_is_not_utf8_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, submission())
    (tmp_path / "fleet.csv").write_bytes(b"asset_id\xff\n")
    with pytest.raises(UnreadableFile, match=r"fleet\.csv is not UTF-8"):
        price_files(path)
    (tmp_path / "fleet.csv").unlink()
    with pytest.raises(UnreadableFile, match=r"fleet\.csv cannot be read"):
        price_files(path)
    with pytest.raises(InvalidInput, match="names no CSV file"):
        price_files(written(tmp_path, submission(fleet=None)))


def test_with_no_record_at_all_the_quote_is_prior_only_and_says_so(tmp_path: Path) -> None:
    fleet = FLEET_HEADER + "x,server,2026-01-10,,\ny,switch,2026-01-10,,\n"
    path = written(tmp_path, submission(), fleet=fleet, incidents=INCIDENT_HEADER)
    assert price_files(path).result()["prior_share"] == 1.0


def test_more_record_leaves_less_to_the_prior(tmp_path: Path) -> None:
    short = result_of(tmp_path, submission(exposure_window={"from": "2024-07-01", "to": "2025-01-01"}))
    assert result_of(tmp_path, submission())["prior_share"] < short["prior_share"]


def test_what_was_not_given_is_labelled(tmp_path: Path) -> None:
    result = result_of(tmp_path, submission(time_zone=None))
    assumed = {item["name"]: item["value"] for item in result["assumptions"] if item["kind"] == "default"}
    assert assumed["time_zone"] == "UTC"
    assert assumed["expenses.loss_adjustment"] == "0.08"


def test_a_qualifying_period_costs_more_than_a_retention(tmp_path: Path) -> None:
    retention = result_of(tmp_path, submission())
    qualifying = result_of(tmp_path, submission(covers=cover(waiting_period_type="qualifying")))
    assert qualifying["premium"] > retention["premium"]


def test_annual_limit_caps_every_year(tmp_path: Path) -> None:
    free = result_of(tmp_path, submission())
    capped = result_of(tmp_path, submission(annual={"limit": 100000}))
    assert capped["quantile_99"] == 100000
    assert capped["tail_mean"]["amount"] == pytest.approx(100000, abs=0.01)
    assert capped["expected_loss"] < free["expected_loss"]


def test_computed_again_from_its_inputs_whatever_the_order_of_their_keys(tmp_path: Path) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in sorted(value, key=lambda name: (len(name), name))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    priced = price_files(written(tmp_path, submission()))
    again = price_inputs(turned(json.loads(json.dumps(priced.inputs))))
    assert again.result() == priced.result()
