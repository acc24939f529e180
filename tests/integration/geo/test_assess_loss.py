"""A footprint with an intensity to losses ground-up, gross and net, on a real database."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import shapely

from core.errors import InvalidInput
from geo import assess, assess_loss, imports, repository
from geo.flood_choice import FloodChoice
from geo.hazard_field import PolygonField
from store import outbox
from store.pool import AsyncConnection
from tests.integration.geo.test_geo import T0, box, with_conn

pytestmark = pytest.mark.sql
ROOT = Path(__file__).resolve().parents[3]
Worker = psycopg.Connection[tuple[Any, ...]]

LOCATIONS = (
    "PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,OccupancyCode,LocPerilsCovered,BuildingTIV,ContentsTIV,"
    "BITIV,LocCurrency,LocDed6All\n"
    "1,A1,1,LK,10.0,20.0,1050,OO1,100000.10,50000.05,1000,EUR,500\n"
    "1,A1,2,LK,10.001,20.001,1100,OO1,200000,0,0,EUR,0\n"
    "1,A2,1,LK,10.0005,20.0005,1050,WW1,70000,0,0,EUR,0\n"
    "1,A3,1,LK,,,1050,OO1,30000,0,0,EUR,0\n"
    "1,A4,1,LK,11.0,21.0,1050,OO1,40000,0,0,EUR,0\n"
)
ACCOUNTS = (
    "PortNumber,AccNumber,AccCurrency,PolNumber,PolPerilsCovered,LayerNumber,LayerParticipation,LayerLimit,LayerAttachment\n"
    "1,A1,EUR,P1,OO1,1,0.5,1000000,1000\n1,A2,EUR,P2,WW1,1,1,1000000,0\n1,A3,EUR,P3,OO1,1,1,0,0\n1,A4,EUR,P4,OO1,1,1,0,0\n"
)
INFO = (
    "ReinsNumber,ReinsLayerNumber,ReinsName,ReinsPeril,CededPercent,RiskLimit,RiskAttachment,OccLimit,OccAttachment,"
    "PlacedPercent,ReinsCurrency,InuringPriority,ReinsType,RiskLevel\n1,1,QS,OO1,0.4,0,0,0,0,1,EUR,1,QS,SEL\n"
)
SCOPE = "ReinsNumber,PortNumber,AccNumber,PolNumber,LocGroup,LocNumber,CededPercent\n1,1,,,,,0.4\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"location": LOCATIONS, "account": ACCOUNTS, "info": INFO, "scope": SCOPE}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return {name: tmp_path / f"{name}.csv" for name in texts}


async def book(conn: AsyncConnection, tenant: UUID, files: dict[str, Path], **left_out: bool) -> Any:
    terms = {"accounts": files["account"], "ri_info": files["info"], "ri_scope": files["scope"]}
    return await imports.import_oed(
        conn, files["location"], tenant_id=tenant, portfolio="Book", **({} if left_out.get("bare") else terms)
    )


async def flood(conn: AsyncConnection, tenant: UUID, depth_m: float | None, minutes: int = 0) -> UUID:
    event = await repository.save_hazard_event(
        conn, tenant_id=tenant, code="flood", peril="flood", name="Flood", started_at=T0
    )
    area = box(-1, -1, 2, 2)
    field = None if depth_m is None else PolygonField.make([(area, depth_m)], "m")
    at = T0 + timedelta(minutes=minutes)
    footprint, _ = await assess.publish_footprint(conn, event, area, valid_at=at, made_how="test", field=field)
    (made,) = await assess.assess_footprint(conn, footprint, now=at)
    return made


def test_losses_are_stored_with_terms_reinsurance_unknowns_and_the_difference_to_the_last_version(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], files: dict[str, Path]
) -> None:
    tenant = make_tenant("one")

    async def work(conn: AsyncConnection) -> list[Any]:
        await book(conn, tenant, files)
        shelf = assess_loss.FileShelf()
        outcomes = []
        for number, depth in enumerate((1.0, 1.0, 2.0)):
            made = await flood(conn, tenant, depth, number)
            outcomes.append(await assess_loss.estimate_assessment(conn, made, now=T0, shelf=shelf))
        return outcomes

    first, same, deeper = with_conn(postgres_url, work)
    losses = first.result["losses"]
    assert 0 < losses["ri"]["mean"] < losses["il"]["mean"] < losses["gul"]["mean"] < 350_000
    assert losses["ri"]["mean"] == pytest.approx(0.6 * losses["il"]["mean"])
    assert losses["gul"]["p5"] < losses["gul"]["p50"] < losses["gul"]["p95"]
    assert first.result["difference"] is None
    # the same hazard in the next version changes nothing: the event's draws are the event's
    assert set(same.result["difference"]["gul"].values()) == {0.0}
    assert deeper.result["difference"]["gul"]["mean"] > 1000
    told = first.result["reconciliation"]["EUR"]
    assert told == {
        "tiv_in": "491000.15",
        "parts": {
            "left out: its peril is not covered, or a further line of the same location": "70000.00",
            "not hit": "40000.00",
            "unknown: no coordinates": "30000.00",
            "unknown: no published curve for business interruption": "1000.00",
            "with loss": "350000.15",
        },
        "difference": "0.00",
    }
    assert first.result["unknown"]["no coordinates"] == {"n_items": 1, "tiv": 30000.0}
    rows = worker.execute(
        "SELECT f.version, l.problem, l.mean_gul, l.mean_ri FROM assessment_loss AS l JOIN assessment USING (assessment_id)"
        " JOIN footprint AS f USING (footprint_id) ORDER BY 1"
    ).fetchall()
    assert [r[0] for r in rows] == [1, 2, 3]
    assert rows[0][2] == pytest.approx(losses["gul"]["mean"])
    places = worker.execute(
        "SELECT loc_number, rank, mean_gul > mean_il, intensity FROM assessment_location_loss AS x"
        " JOIN location USING (location_id) JOIN assessment USING (assessment_id) JOIN footprint AS f USING (footprint_id)"
        " WHERE f.version = 1 ORDER BY rank"
    ).fetchall()
    assert {p[0] for p in places} == {"1", "2"}
    assert all(p[2] and p[3] == 1.0 for p in places)
    assert worker.execute("SELECT DISTINCT pol_number, rank FROM assessment_policy").fetchall() == [("P1", 1)]
    published = worker.execute(
        "SELECT count(*) FROM outbox WHERE kind = 'loss_estimated' AND consumer = 'stream'"
    ).fetchone()
    assert published == (3,)
    assert worker.execute(
        "SELECT count(*) FROM outbox WHERE kind = 'assessment_made' AND consumer = 'loss'"
    ).fetchone() == (3,)


@pytest.mark.parametrize(
    ("depth", "bare", "why"),
    [(None, False, "not how strong"), (1.0, True, "")],
)
def test_what_cannot_be_told_is_unknown_and_not_zero(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], files: dict[str, Path], depth: float | None,
    bare: bool, why: str,
) -> None:  # fmt: skip
    tenant = make_tenant("one")

    async def work(conn: AsyncConnection) -> Any:
        await book(conn, tenant, files, bare=bare)
        made = await flood(conn, tenant, depth)
        return await assess_loss.estimate_assessment(conn, made, now=T0, shelf=assess_loss.FileShelf())

    outcome = with_conn(postgres_url, work)
    assert why in outcome.problem
    row = worker.execute("SELECT mean_gul, mean_il, mean_ri FROM assessment_loss").fetchone()
    assert row is not None
    assert row[1:] == (None, None)
    assert (row[0] is None) is (depth is None)


def test_terms_that_cannot_be_read_are_told_at_the_import_and_make_the_loss_unknown(
    postgres_url: str, make_tenant: Callable[[str], UUID], files: dict[str, Path]
) -> None:
    tenant = make_tenant("one")
    files["account"].write_text(ACCOUNTS.replace(",0.5,", ",1.5,"), encoding="utf-8")

    async def work(conn: AsyncConnection) -> Any:
        report = await book(conn, tenant, files)
        made = await flood(conn, tenant, 1.0)
        return report, await assess_loss.estimate_assessment(conn, made, now=T0, shelf=assess_loss.FileShelf())

    report, outcome = with_conn(postgres_url, work)
    assert "LayerParticipation: '1.5' is more than 1" in report.terms_problem
    assert "LayerParticipation" in outcome.problem


def test_the_commands_import_publish_and_assess(
    postgres_url: str, make_tenant: Callable[[str], UUID], files: dict[str, Path], tmp_path: Path
) -> None:
    make_tenant("one")
    env = os.environ | {"TOCSIN_DATABASE_URL": postgres_url, "TOCSIN_HOME": str(tmp_path), "TOCSIN_MODE": "exercise"}

    def tocsin(*arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments, "--tenant", "one", "--json"],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    tocsin("import", "oed", str(files["location"]), "--portfolio", "Book", "--accounts", str(files["account"]),
           "--ri-info", str(files["info"]), "--ri-scope", str(files["scope"]))  # fmt: skip
    polygon = tmp_path / "flood.geojson"
    feature = {"type": "Feature", "properties": {"intensity": 3.0, "unit": "ft"},
               "geometry": shapely.geometry.mapping(box(-1, -1, 2, 2))}  # fmt: skip
    polygon.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    published = tocsin("import", "footprint", str(polygon), "--event", "f1", "--valid-at", "2026-06-01T00:00:00Z")
    assert published["unit"] == "m"
    told = tocsin("assess", "f1", "--portfolio", "Book", "--samples", "50")
    assert told["losses"]["gul"]["mean"] > 0
    assert told["assumptions"]["n_samples"] == 50
    assert told["policies"][0]["pol_number"] == "P1"
    assert "Other" in tocsin("assess", "f1", "--portfolio", "Other", code=3)


def test_the_loss_comes_first_and_its_parts_by_source_after_it_once(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], files: dict[str, Path]
) -> None:
    tenant = make_tenant("one")

    async def of(conn: AsyncConnection, consumer: str, handler: Any) -> int:
        works = await outbox.claim(conn, consumer, worker="w", limit=10, lease_s=60)
        for work in works:
            async with conn.transaction():
                await outbox.hold(conn, work)
                await handler(conn, work)
                await outbox.complete(conn, [work.outbox_id])
        return len(works)

    async def result(conn: AsyncConnection, made: UUID) -> dict[str, Any]:
        rows = await conn.execute("SELECT result FROM assessment_loss WHERE assessment_id = %s", [made])
        found: dict[str, Any] = (await rows.fetchone())[0]  # type: ignore[index]
        return found

    async def work(conn: AsyncConnection) -> list[Any]:
        await book(conn, tenant, files)
        made = await flood(conn, tenant, 1.0)
        assert await of(conn, "loss", assess_loss.handle) == 1
        first = await result(conn, made)
        handled = [await of(conn, "loss_sources", assess_loss.handle_sources) for _ in range(3)]
        second = await result(conn, made)
        # overtaken by a newer version before its turn came: it stays without
        older = await flood(conn, tenant, 1.0, 1)
        await of(conn, "loss", assess_loss.handle)
        await flood(conn, tenant, 2.0, 2)
        await of(conn, "loss_sources", assess_loss.handle_sources)
        return [first, second, handled, await result(conn, older)]

    first, second, handled, overtaken = with_conn(postgres_url, work)
    assert first["sd_by_source"] is None
    assert set(second["sd_by_source"]) >= {"hazard", "damage", "curve"}
    assert {k: v for k, v in first.items() if k != "sd_by_source"} == {
        k: v for k, v in second.items() if k != "sd_by_source"
    }
    # the second loss_estimated finds nothing to do, and makes no third
    assert handled == [1, 1, 0]
    assert overtaken["sd_by_source"] is None


def test_books_are_in_memory_before_a_footprint_asks_and_anew_after_an_import(
    postgres_url: str, make_tenant: Callable[[str], UUID], files: dict[str, Path]
) -> None:
    tenant = make_tenant("one")

    async def work(conn: AsyncConnection) -> list[int]:
        await book(conn, tenant, files)
        shelf = assess_loss.FileShelf()
        read = [await shelf.fill(conn), await shelf.fill(conn)]
        files["location"].write_text(LOCATIONS.replace("100000.10", "90000"), encoding="utf-8")
        await book(conn, tenant, files)
        return [*read, await shelf.fill(conn), await shelf.fill(conn)]

    assert with_conn(postgres_url, work) == [1, 0, 1, 0]


def test_losses_are_grouped_by_any_field_of_either_file_and_add_up(
    postgres_url: str, make_tenant: Callable[[str], UUID], files: dict[str, Path]
) -> None:
    """What `tocsin assess --by` stores and prints: the groups of a run add up to its losses in each perspective."""
    tenant = make_tenant("one")

    async def work(conn: AsyncConnection) -> list[Any]:
        await book(conn, tenant, files)
        made = await flood(conn, tenant, 1.0)
        shelf = assess_loss.FileShelf()
        found = [
            await assess_loss.estimate_assessment(conn, made, now=T0, shelf=shelf, by=field)
            for field in ("OccupancyCode", "PolNumber")
        ]
        with pytest.raises(InvalidInput, match="--by: neither file has a column 'Colour'"):
            await assess_loss.estimate_assessment(conn, made, now=T0, shelf=shelf, by="Colour")
        with pytest.raises(InvalidInput, match="samples: 1 is not within"):
            await assess_loss.estimate_assessment(conn, made, now=T0, shelf=shelf, n_samples=1)
        # a slip in asking leaves the stored loss as it was
        kept = await conn.execute("SELECT problem, mean_gul FROM assessment_loss WHERE assessment_id = %s", [made])
        assert await kept.fetchall() == [("", pytest.approx(found[1].result["losses"]["gul"]["mean"]))]
        return [one.result for one in found]

    occupancy, policy = with_conn(postgres_url, work)
    groups = {row["OccupancyCode"]: row for row in occupancy["by"]["groups"]}
    assert (occupancy["by"]["field"], set(groups)) == ("OccupancyCode", {"1050", "1100"})
    assert groups["1050"]["tiv"] == pytest.approx(100000.10 + 50000.05 + 1000)  # accounts that are hit
    for perspective in ("gul", "il", "ri"):
        whole = occupancy["losses"][perspective]["mean"]
        assert sum(row[f"{perspective}_mean"] for row in groups.values()) == pytest.approx(whole)
    assert groups["1050"]["gul_mean"] != pytest.approx(groups["1100"]["gul_mean"])
    assert [row["PolNumber"] for row in policy["by"]["groups"]] == ["P1"]
    assert policy["by"]["groups"][0]["il_mean"] == pytest.approx(policy["losses"]["il"]["mean"])


def test_a_book_declares_its_flood_curves_and_what_they_lack_is_assumed_in_sight(
    postgres_url: str, make_tenant: Callable[[str], UUID], files: dict[str, Path]
) -> None:
    tenant = make_tenant("one")
    text = LOCATIONS.replace(",LK,", ",US,").replace(",1050,", ",1051,").replace(",1100,", ",1101,")
    files["location"].write_text(text, encoding="utf-8")

    async def work(conn: AsyncConnection) -> list[Any]:
        outcomes = []
        for choice in (None, FloodChoice.of("hazus", 1.0, 1.0), FloodChoice.of("fia", 1.0, 1.0)):
            more = {} if choice is None else {"flood": choice}
            await imports.import_oed(
                conn, files["location"], tenant_id=tenant, portfolio="Book", accounts=files["account"], **more
            )
            made = await flood(conn, tenant, 1.0, len(outcomes))
            outcomes.append(await assess_loss.estimate_assessment(conn, made, now=T0, shelf=assess_loss.FileShelf()))
        # another choice for this run only, in place of the book's
        outcomes.append(
            await assess_loss.estimate_assessment(
                conn, made, now=T0, shelf=assess_loss.FileShelf(), flood=FloodChoice.of("jrc", None, None)
            )
        )
        # interruption by restoration days is declared like the curves
        days = FloodChoice.of("hazus", 1.0, 1.0, "max")
        outcomes.append(
            await assess_loss.estimate_assessment(conn, made, now=T0, shelf=assess_loss.FileShelf(), flood=days)
        )
        return outcomes

    silent, hazus, fia, jrc, interrupted = (one.result for one in with_conn(postgres_url, work))
    # nothing declared: no first floor height, so no loss is told, and its value is
    assert silent["losses"] == {"gul": None, "il": None, "ri": None}
    assert any("height of the first floor" in reason for reason in silent["unknown"])
    assert silent["tiv_with_loss"] == 0
    assert hazus["losses"]["gul"]["mean"] > 0
    assert hazus["assumptions"]["flood"] == {
        "curves": "hazus", "first_floor_ft": 1.0, "storeys": 1.0, "bi_restoration": None,
    }  # fmt: skip
    assert hazus["assumptions"]["assumed"]["FirstFloorHeight: 1 ft"]["n_items"] == 3
    # the Federal Insurance Administration's curves know one-family houses only
    assert any("no fia curve for COM1" in reason for reason in fia["unknown"])
    assert jrc["curves"] == ["JRC 2017 north-america residential, depth above ground"]
    for one in (silent, hazus, fia, jrc):
        assert one["unknown"]["no published curve for business interruption"] == {"n_items": 1, "tiv": 1000.0}
        assert one["reconciliation"]["EUR"]["difference"] == "0.00"
    assert interrupted["by_coverage"]["business_interruption"]["gul"] > 0
    assert not any("business interruption" in reason for reason in interrupted["unknown"])
