"""Terms by hand, laws of insurance, and bad files told with line, field and reason."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from geo import terms_files
from geo.oed_table import BadOedRows
from geo.perils import UnknownPeril, covers
from geo.terms import BadTerms, Level, Programme, Terms, with_columns
from geo.terms_rows import UnclearTerms

LOC = "PortNumber,AccNumber,LocNumber,LocPerilsCovered,LocCurrency,BuildingTIV,ContentsTIV"
ACC = "PortNumber,AccNumber,PolNumber,LayerNumber,AccCurrency,PolPerilsCovered"
STEP = (
    f"{ACC},StepTriggerType,StepNumber,TriggerType,PayOutType,TriggerBuildingStart,TriggerBuildingEnd,"
    "PayOutBuildingStart,PayOutBuildingEnd,DeductibleBuilding,PolDed6All"
)


def _book(folder: Path, loc: str, acc: str, info: str = "", scope: str = "", **options: object) -> terms_files.LossBook:
    files = {"loc": loc, "acc": acc, "info": info, "scope": scope}
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return terms_files.load(
        folder / "loc.csv", folder / "acc.csv", ri_info=folder / "info.csv" if info else None,
        ri_scope=folder / "scope.csv" if scope else None, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_worked_by_hand(tmp_path: Path) -> None:
    """Site deductible 10, layer 40 xs 20 at 50 %, quota share 25 %: ((100-10)-20 -> 40) * .5 * .75."""
    book = _book(
        tmp_path, f"{LOC},LocDed6All\n1,A,1,WTC,EUR,200,,10\n", f"{ACC},LayerAttachment,LayerLimit,LayerParticipation\n"
        "1,A,P,1,EUR,WTC,20,40,0.5\n",
        "ReinsNumber,ReinsType,RiskLevel,InuringPriority,CededPercent,ReinsCurrency\n1,QS,SEL,1,0.25,EUR\n",
        "ReinsNumber,PortNumber\n1,1\n",
    )  # fmt: skip
    ground_up, insured, net = book.losses(0.5)
    assert (ground_up.tolist(), insured.tolist(), net.tolist()) == ([100.0], [20.0], [15.0])


def test_a_step_policy_pays_by_the_band_of_its_loss(tmp_path: Path) -> None:
    """Bands of the value 200: 10 to 40 % pays 20 % of it, more pays 80 %; the contents are not named and pay nothing."""
    rows = "1,A,P,1,EUR,WTC,1,1,2,2,0.1,0.4,0.2,,,\n1,A,P,1,EUR,WTC,1,2,2,2,0.4,1,0.8,,,\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,150,30\n1,A,2,WTC,EUR,50,\n", f"{STEP}\n{rows}")
    for ratio, paid in ((0.05, 0.0), (0.1, 40.0), (0.39, 40.0), (0.4, 160.0), (1.0, 160.0)):
        insured = book.losses(ratio)[1]
        assert insured.tolist() == pytest.approx([paid * 0.75, 0.0, paid * 0.25])


def test_each_coverage_of_each_location_has_its_own_deductible(tmp_path: Path) -> None:
    """Of a book without minimum and maximum every location of which has both: the quick way must not mix them up."""
    book = _book(
        tmp_path,
        f"{LOC},LocDed1Building,LocDed3Contents\n1,A,1,WTC,EUR,100,100,10,5\n1,A,2,WTC,EUR,100,100,20,7\n",
        f"{ACC}\n1,A,P,1,EUR,WTC\n",
    )
    assert not book.book.programme.bounded
    assert book.losses(0.5)[1].tolist() == [40.0, 45.0, 30.0, 43.0]


def test_a_ramp_pays_between_its_ends(tmp_path: Path) -> None:
    """From 10 to 50 % of the value 200 the payout climbs from 20 to 60 % of it; a second step holds from there on."""
    rows = "1,A,P,1,EUR,WTC,1,1,2,2,0.1,0.5,0.2,0.6,,\n1,A,P,1,EUR,WTC,1,2,2,2,0.5,1,0.8,,,\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,200,\n", f"{STEP}\n{rows}")
    for ratio, paid in ((0.05, 0.0), (0.1, 40.0), (0.2, 60.0), (0.4, 100.0), (0.5, 160.0), (1.0, 160.0)):
        assert book.losses(ratio)[1].tolist() == pytest.approx([paid])
    # amounts: from 20 to 120 the share of the loss that is paid climbs from 10 to 50 %, up to the limit of 40
    text = f"{STEP},PayOutLimitBuilding\n1,A,P,1,EUR,WTC,1,1,0,1,20,120,0.1,0.5,,,40\n"
    (tmp_path / "b").mkdir()
    book = _book(tmp_path / "b", f"{LOC}\n1,A,1,WTC,EUR,200,\n", text)
    for ratio, paid in ((0.05, 0.0), (0.1, 2.0), (0.35, 70 * 0.3), (0.6, 40.0), (1.0, 40.0)):
        assert book.losses(ratio)[1].tolist() == pytest.approx([paid])


def test_peril_leaves_out_what_does_not_cover_it_and_says_so(tmp_path: Path) -> None:
    loc = f"{LOC}\n1,A,1,WW1,EUR,100,\n1,A,2,OO1,EUR,50,\n"
    acc = f"{ACC}\n1,A,P,1,EUR,AA1\n1,A,Q,2,EUR,ORF\n"
    book = _book(tmp_path, loc, acc, peril="WTC")
    told = terms_files.summary(book, book.losses(1.0))
    assert told["tiv"] == 100.0
    assert told["left_out"]["LocPerilsCovered does not name WTC"] == {"n": 1, "tiv": 50.0}
    assert told["loss_il"] == 100.0  # the flood policy does not answer
    with pytest.raises(UnknownPeril):
        covers("WTC;XYZ", "WTC")


def test_policies_out_of_force_do_not_answer(tmp_path: Path) -> None:
    acc = f"{ACC},PolInceptionDate,PolExpiryDate\n1,A,P,1,EUR,WTC,2026-01-01,2026-12-31\n"
    loc = f"{LOC}\n1,A,1,WTC,EUR,100,\n"
    for day, paid in ((date(2026, 6, 1), 100.0), (date(2027, 1, 1), 0.0), (date(2025, 12, 31), 0.0)):
        book = _book(tmp_path, loc, acc, event_date=day)
        assert book.losses(1.0)[1].sum() == paid


def test_currencies_by_a_rate_table(tmp_path: Path) -> None:
    loc = f"{LOC},LocDed6All\n1,A,1,WTC,USD,100,,10\n1,A,2,WTC,GBP,100,,10\n"
    acc = f"{ACC},PolLimit6All\n1,A,P,1,USD,WTC,150\n"
    with pytest.raises(UnclearTerms, match="GBP, USD"):
        _book(tmp_path, loc, acc)
    (tmp_path / "roe.csv").write_text("cur_from,cur_to,roe\nUSD,GBP,0.8\n")
    rates = terms_files.read_rates(tmp_path / "roe.csv")
    book = _book(tmp_path, loc, acc, currency="GBP", rates=rates)
    assert book.losses(1.0)[0].tolist() == pytest.approx([80.0, 100.0])
    assert book.losses(1.0)[1].sum() == pytest.approx(120.0)  # 72 + 90 = 162, limit 150 USD
    inverse = _book(tmp_path, loc, acc, currency="USD", rates=rates)
    assert inverse.losses(1.0)[1].sum() == pytest.approx(150.0)
    with pytest.raises(BadOedRows, match="no rate from USD to EUR"):
        _book(tmp_path, loc, acc, currency="EUR", rates=rates)


@pytest.mark.parametrize(
    ("loc", "acc", "told"),
    [
        (f"{LOC}\n1,A,1,WTC,EUR,x,\n", None, "line 2: BuildingTIV: 'x' is not a number"),
        (f"{LOC}\n1,A,1,WTC,EUR,1,\n\n1,A,2,WTC,EUR,-5,\n", None, "line 4: BuildingTIV: '-5' is negative"),
        (
            f"{LOC}\n1,A,1,WTC,EUR,1,\n1,B,2,WTC,EUR,5,\n",
            None,
            "line 3: AccNumber: account 'B' of portfolio '1' is not in acc.csv",
        ),
        (f"{LOC}\n1,A,1,WTC,EUR,1,\n1,A,1,WTC,EUR,5,\n", None, "line 3: LocNumber"),
        (f"{LOC}\n1,A,1,WXX,EUR,1,\n", None, "line 2: LocPerilsCovered: 'WXX' is not an OED peril code"),
        (None, f"{ACC},PolDed6All,PolDedType6All\n1,A,P,1,EUR,WTC,3,1\n", "line 2: PolDed6All: 3 is a share"),
        (None, f"{ACC},PolDed6All,PolDedType6All\n1,A,P,1,EUR,WTC,3,7\n", "PolDedType6All: 7 is none of 0, 1, 2, 3"),
        (None, f"{ACC},PolDed6All,PolDedCode6All\n1,A,P,1,EUR,WTC,3,4\n", "PolDedCode6All: 4 is a residual deductible"),
        (None, f"{ACC},PolDed6All,PolDedCode6All\n1,A,P,1,EUR,WTC,3,5\n", "5 is the deductible of a CEA Homeowners"),
        (None, f"{ACC},PolDed6All,PolDedCode6All\n1,A,P,1,EUR,WTC,3,8\n", "PolDedCode6All: 8 is no deductible code"),
        (None, f"{ACC},PolLimit6All,PolLimitCode6All\n1,A,P,1,EUR,WTC,3,2\n", "PolLimitCode6All: 2 is no limit code"),
        (
            None,
            f"{ACC},PolDed6All,PolDedCode6All,PolMaxDed6All\n1,A,P,1,EUR,WTC,3,1,9\n",
            "PolDedCode6All: 1 cannot stand beside a minimum or maximum",
        ),
        (None, f"{ACC},BIPOI\n1,A,P,1,EUR,WTC,90\n", "line 2: BIPOI: 90 stands at the policy"),
        (None, f"{ACC},LayerParticipation\n1,A,P,1,EUR,WTC,1.5\n", "LayerParticipation: '1.5' is more than 1"),
        (None, f"{ACC},StepTriggerType,StepNumber\n1,A,P,1,EUR,WTC,4,1\n", "StepTriggerType: 4 is none of 1, 2, 3, 5"),
        (None, f"{STEP}\n1,A,P,1,EUR,WTC,1,1,1,2,0.1,0.5,0.2,,,\n", "PayOutType: TriggerType 1 with PayOutType 2"),
        (
            None,
            f"{STEP}\n1,A,P,1,EUR,WTC,1,1,2,2,0.5,0.1,0.2,,,\n",
            "TriggerBuildingEnd: 0.1 is not more than the start",
        ),
        (None, f"{STEP}\n1,A,P,1,EUR,WTC,1,1,0,1,5,,0.2,0.3,,\n", "TriggerBuildingEnd: 0 is not more than the start 5"),
        (None, f"{STEP}\n1,A,P,1,EUR,WTC,1,1,2,3,0.1,0.5,0.2,,,\n", "PayOutLimitBuilding: it is empty"),
        (None, f"{STEP}\n1,A,P,1,EUR,WTC,1,1,2,2,0.1,0.5,0.2,,5,\n", "DeductibleBuilding: stands only beside"),
        (None, f"{STEP}\n1,A,P,1,EUR,WTC,1,1,2,2,0.1,0.5,0.2,,,7\n", "steps cannot stand beside a deductible or limit"),
        (None, f"{ACC},PolInceptionDate\n1,A,P,1,EUR,WTC,31/12/2026\n", "PolInceptionDate: '31/12/2026' is not a date"),
    ],
)
def test_bad_rows_are_told(loc: str | None, acc: str | None, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadOedRows) as caught:
        _book(tmp_path, loc or f"{LOC}\n1,A,1,WTC,EUR,1,\n", acc or f"{ACC}\n1,A,P,1,EUR,WTC\n")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("info", "scope", "told"),
    [
        ("1,QQ,SEL,1", "1,1,,", "line 2: ReinsType: 'QQ' is none of"),
        ("1,QS,CITY,1", "1,1,,", "line 2: RiskLevel"),
        ("1,QS,SEL,0", "1,1,,", "line 2: InuringPriority: 0 is less than 1"),
        ("1,QS,SEL,1", "2,1,,", "contract '1' has no scope"),
        ("1,FAC,LOC,1", "1,1,A,", "line 2: LocNumber: it is empty, and a FAC contract by LOC must name it"),
        ("1,SS,ACC,1", "1,1,A,1", "line 2: LocNumber: a SS contract by ACC must leave it blank"),
        ("1,CXL,SEL,1,5", "1,1,,", "line 2: ReinsFXrate: 5 is not computed here: only 1 or a blank"),
        ("1,QS,SEL,1,,2", "1,1,,", "line 2: Reinstatement: a contract of type QS has no limit that is reinstated"),
        ("1,CXL,SEL,1,,2", "1,1,,", "line 2: Reinstatement: there is no OccLimit that could be reinstated"),
        ("1,CXL,SEL,1,,2,9,1;x", "1,1,,", "line 2: ReinstatementCharge: '1;x' is not shares"),
        ("1,AXL,SEL,1,,,,,90", "1,1,,", "line 2: AggPeriod: 90 days are not computed here"),
    ],
)
def test_bad_reinsurance_is_told(info: str, scope: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadOedRows) as caught:
        _book(
            tmp_path, f"{LOC}\n1,A,1,WTC,EUR,1,\n", f"{ACC}\n1,A,P,1,EUR,WTC\n",
            "ReinsNumber,ReinsType,RiskLevel,InuringPriority,ReinsFXrate,Reinstatement,OccLimit,ReinstatementCharge,"
            f"AggPeriod\n{info}{',' * (8 - info.count(','))}\n",
            f"ReinsNumber,PortNumber,AccNumber,LocNumber\n{scope}\n",
        )  # fmt: skip
    assert told in str(caught.value)


def test_headers_compare_without_case_and_parquet_is_the_same(tmp_path: Path) -> None:
    import pandas as pd

    book = _book(tmp_path, f"{LOC.upper()}\n1,A,1,WTC,EUR,100,20\n", f"{ACC.lower()}\n1,A,P,1,EUR,WTC\n")
    frame = pd.read_csv(tmp_path / "loc.csv").astype({"LOCNUMBER": float})
    frame.to_parquet(tmp_path / "loc.parquet")
    again = terms_files.load(tmp_path / "loc.parquet", tmp_path / "acc.csv")
    assert terms_files.table(book, book.losses(0.5)).equals(terms_files.table(again, again.losses(0.5)))


def test_groups_by_any_field_add_up(tmp_path: Path) -> None:
    loc = f"{LOC},PostalCode\n1,A,1,WTC,EUR,100,20,X\n1,A,2,WTC,EUR,50,,Y\n1,A,3,WTC,EUR,10,,X\n"
    book = _book(tmp_path, loc, f"{ACC},PolDed6All\n1,A,P,1,EUR,WTC,18\n", keep=("PostalCode",))
    losses = book.losses(0.5)
    grouped = {row["PostalCode"]: row for row in terms_files.by_field(book, losses, "postalcode")}
    assert {name: row["tiv"] for name, row in grouped.items()} == {"X": 130.0, "Y": 50.0}
    assert sum(row["loss_il"] for row in grouped.values()) == pytest.approx(90 - 18)
    with pytest.raises(InvalidInput, match="--by"):
        terms_files.by_field(book, losses, "Nothing")


def test_terms_by_peril_of_one_location(tmp_path: Path) -> None:
    """The line whose LocPeril names the event's peril speaks; the value counts once (as in the oracle: 160)."""
    loc = f"{LOC},LocPeril,LocDed6All\n1,A,1,WTC;ORF,EUR,1000,,ORF,80\n1,A,1,WTC;ORF,EUR,1000,,WTC,40\n"
    acc = f"{ACC}\n1,A,P,1,EUR,AA1\n"
    book = _book(tmp_path, loc, acc, peril="WTC")
    ground_up, insured, _ = book.losses(0.2)
    assert (ground_up.tolist(), insured.tolist()) == ([200.0], [160.0])
    assert _book(tmp_path, loc, acc, peril="ORF").losses(0.2)[1].tolist() == [120.0]
    with pytest.raises(BadOedRows, match="line 3: LocPeril: terms differ by LocPeril"):
        _book(tmp_path, loc, acc)


def test_accounts_without_locations_are_told(tmp_path: Path) -> None:
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", f"{ACC}\n1,A,P,1,EUR,WTC\n1,B,Q,1,EUR,WTC\n")
    told = terms_files.summary(book, book.losses(1.0))
    assert told["left_out"] == {"accounts without a location": {"n": 1}}
    assert terms_files.table(book, book.losses(1.0))["AccNumber"].to_pylist() == ["A"]


def test_a_blank_currency_is_that_of_the_files_or_refused(tmp_path: Path) -> None:
    loc = f"{LOC}\n1,A,1,WTC,EUR,100,\n1,A,2,WTC, ,50,\n"
    book = _book(tmp_path, loc, f"{ACC}\n1,A,P,1,,WTC\n")
    told = terms_files.summary(book, book.losses(1.0))
    assert told["currency"] == "EUR"
    assert told["loss_il"] == 150.0
    assert told["assumed"] == {"LocCurrency is blank: taken as EUR": 1, "AccCurrency is blank: taken as EUR": 1}
    (tmp_path / "roe.csv").write_text("cur_from,cur_to,roe\nUSD,EUR,0.9\n")
    with pytest.raises(BadOedRows, match="line 3: LocCurrency: it is empty, and the files have amounts in EUR, USD"):
        _book(tmp_path, loc, f"{ACC}\n1,A,P,1,USD,WTC\n", currency="EUR",
              rates=terms_files.read_rates(tmp_path / "roe.csv"))  # fmt: skip


def test_a_file_without_portfolio_numbers_is_joined_by_account(tmp_path: Path) -> None:
    acc = "AccNumber,PolNumber,PolPerilsCovered\nA,P,WTC\n"
    assert _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", acc).losses(0.5)[1].tolist() == [50.0]


def test_the_insured_loss_goes_back_to_its_locations(tmp_path: Path) -> None:
    """Site deductible 20 on the first, policy limit 90 on both: 80 and 100 become 40 and 50, whatever paid them."""
    loc = f"{LOC},LocDed6All\n1,A,1,WTC,EUR,100,,20\n1,A,2,WTC,EUR,60,40,\n"
    book = _book(tmp_path, loc, f"{ACC},PolLimit6All\n1,A,P,1,EUR,WTC,90\n")
    insured = book.losses(1.0)[1]
    assert insured.tolist() == pytest.approx([40.0, 30.0, 20.0])


@pytest.mark.parametrize("suffix", ["1Building", "5PD", "6All"])
def test_every_layer_pays_what_its_terms_say(suffix: str, tmp_path: Path) -> None:
    """Sites 12 and 26 after a deductible of 2 at all coverages (contents and BI among them); policy deductible 4 or 10.

    Two layers over one loss: what their rows add up to is the layer of the whole, whatever the levels below were.
    """
    loc = (
        "PortNumber,AccNumber,LocNumber,LocPerilsCovered,LocCurrency,BuildingTIV,ContentsTIV,BITIV,LocDed6All\n"
        "1,A,1,WTC,EUR,50,15,5,2\n1,A,2,WTC,EUR,100,30,10,2\n"
    )
    acc = (
        f"{ACC},LayerAttachment,LayerLimit,LayerParticipation,PolDed{suffix}\n"
        "1,A,P1,1,EUR,WTC,0,10,0.5,4\n1,A,P2,2,EUR,WTC,10,100,0.5,4\n"
    )
    book = _book(tmp_path, loc, acc)
    told = terms_files.table(book, book.losses(0.2))
    paid = dict.fromkeys(("P1", "P2"), 0.0)
    for policy, insured in zip(told["PolNumber"].to_pylist(), told["loss_il"].to_pylist(), strict=True):
        paid[policy] += insured
    below = 12.0 + 26.0 - 4.0  # 14 - 2 and 28 - 2, less the policy's deductible
    assert paid == pytest.approx({"P1": 0.5 * 10.0, "P2": 0.5 * (below - 10.0)})


def test_the_share_of_a_location_is_taken_after_its_terms(tmp_path: Path) -> None:
    """(50 - 10) x 0.4 and 25 whole, then the policy's deductible of 1; a share of 0 is told."""
    loc = f"{LOC},LocDed6All,LocParticipation\n1,A,1,WTC,EUR,100,,10,0.4\n1,A,2,WTC,EUR,50,,,\n1,A,3,WTC,EUR,9,,,0\n"
    book = _book(tmp_path, loc, f"{ACC},PolDed6All\n1,A,P,1,EUR,WTC,1\n")
    assert book.losses(0.5)[1].sum() == pytest.approx(16.0 + 25.0 - 1.0)
    told = terms_files.summary(book, book.losses(0.5))
    assert told["left_out"]["LocParticipation is 0: nothing insured"] == {"n": 1, "tiv": 9.0}


def test_a_flood_sublimit_holds_for_flood_alone(tmp_path: Path) -> None:
    loc = f"{LOC}\n1,A,1,AA1,EUR,100,\n"
    acc = f"{ACC},PolPeril,PolLimit6All\n1,A,P,1,EUR,AA1,WTC,80\n1,A,P,1,EUR,AA1,ORF,25\n"
    for peril, paid in (("WTC", 80.0), ("ORF", 25.0), ("QEQ", 100.0)):
        assert _book(tmp_path, loc, acc, peril=peril).losses(1.0)[1].tolist() == [paid]
    with pytest.raises(UnclearTerms, match="--peril"):
        _book(tmp_path, loc, acc)


def test_facultative_and_proportional_covers_come_before_the_excess(tmp_path: Path) -> None:
    """100: facultative half of the risk (50), quota share a fifth of what is left (10), 15 xs 20 of the occurrence."""
    info = (
        "ReinsNumber,ReinsType,RiskLevel,InuringPriority,CededPercent,PlacedPercent,OccLimit,OccAttachment,AggLimit\n"
        "1,FAC,LOC,1,0.5,1,,,\n2,QS,SEL,2,0.2,1,,,\n3,CXL,SEL,3,1,0.8,15,20,45\n"
    )
    scope = "ReinsNumber,PortNumber,AccNumber,LocNumber,CededPercent\n1,1,A,1,1\n2,1,,,1\n3,1,,,1\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", f"{ACC}\n1,A,P,1,EUR,WTC\n", info, scope)
    losses = book.losses(1.0)
    assert losses[2].tolist() == pytest.approx([40.0 - 0.8 * 15.0])
    told = terms_files.summary(book, losses)
    assert told["ceded"] == pytest.approx(72.0)
    assert list(told["assumed"]) == ["3 answers to a year (45 xs 0): a single event is the first of its year"]


def test_demand_surge_stands_before_the_terms(tmp_path: Path) -> None:
    """At 150 and above everything costs 1.2 times as much: 200 -> 240, limit 230."""
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,100\n", f"{ACC},PolLimit6All\n1,A,P,1,EUR,WTC,230\n")
    surged = replace(book, surge=((150.0, 1.2),))
    assert [x.sum() for x in surged.losses(1.0)] == pytest.approx([240.0, 230.0, 230.0])
    assert [x.sum() for x in surged.losses(0.7)] == pytest.approx([x.sum() for x in book.losses(0.7)])
    assert terms_files.summary(surged, surged.losses(1.0))["demand_surge"] == [[150.0, 1.2]]


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_that_is_none_is_refused(ratio: float, tmp_path: Path) -> None:
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,20\n", f"{ACC}\n1,A,P,1,EUR,WTC\n")
    with pytest.raises(BadTerms):
        book.losses(ratio)


# ---------------------------------------------------------------- laws
@st.composite
def programmes(draw: st.DrawFn) -> Programme:
    """Random levels over twelve items: of one node, of four, of each item alone."""
    levels = []
    for name, n in (("site", 12), ("middle", 4), ("top", 1)):
        node = np.arange(12) * n // 12
        amounts = st.integers(0, 60).map(float)
        column = st.lists(amounts, min_size=n, max_size=n).map(np.array)
        of_loss = draw(st.booleans())
        limit = draw(column)
        low = draw(column) * draw(st.sampled_from([0.0, 1.0]))
        high = np.where(draw(st.booleans()), low + draw(column) + 1, np.inf)
        terms = with_columns(
            Terms.none(n),
            deductible=draw(column) / (100.0 if of_loss else 1.0),
            deductible_of_loss=np.full(n, of_loss),
            min_deductible=low,
            max_deductible=high,
            limit=np.where(limit > 0, limit * n, np.inf),
            share=np.full(n, draw(st.sampled_from([1.0, 0.4])) if name == "top" else 1.0),
        )
        level = Level.make(name, node, terms)
        if level is not None:
            levels.append(level)
    return Programme(12, np.arange(12), tuple(levels), (), np.ones(12, dtype=bool))


@settings(max_examples=150, deadline=None)
@given(programmes(), st.lists(st.integers(0, 200), min_size=12, max_size=12))
def test_insured_is_between_zero_and_ground_up(programme: Programme, losses: list[int]) -> None:
    ground_up = np.array(losses, dtype=float)
    insured = programme.insured(ground_up)
    assert (insured >= -1e-9).all()
    assert insured.sum() <= ground_up.sum() * (1 + 1e-9) + 1e-9


@settings(max_examples=100, deadline=None)
@given(programmes(), st.lists(st.integers(0, 200), min_size=12, max_size=12))
def test_without_minimum_and_maximum_more_loss_never_pays_less(programme: Programme, losses: list[int]) -> None:
    plain = tuple(
        Level.make(level.name, level.node, with_columns(
            level.terms, min_deductible=np.zeros(len(level.terms)), max_deductible=np.full(len(level.terms), np.inf)))
        for level in programme.site
    )  # fmt: skip
    kept = tuple(level for level in plain if level is not None)
    mine = Programme(12, np.arange(12), kept, (), np.ones(12, dtype=bool))
    ground_up = np.array(losses, dtype=float)
    assert mine.insured(ground_up * 1.1).sum() >= mine.insured(ground_up).sum() - 1e-9


@settings(max_examples=60, deadline=None)
@given(programmes(), st.lists(st.integers(0, 200), min_size=12, max_size=12), st.sampled_from([2.0, 0.01, 1000.0]))
def test_another_unit_of_money_changes_nothing(programme: Programme, losses: list[int], unit: float) -> None:
    ground_up = np.array(losses, dtype=float)
    changed = []
    for level in programme.site:
        t = level.terms
        flat = np.where(t.deductible_of_loss, 1.0, unit)
        terms = with_columns(t, deductible=t.deductible * flat, min_deductible=t.min_deductible * unit,
                             max_deductible=t.max_deductible * unit, limit=t.limit * unit)  # fmt: skip
        node = np.full(12, -1)  # a level holds only the rows whose node changes something
        node[level.rows] = level.node
        made = Level.make(level.name, node, terms)
        assert made is not None
        changed.append(made)
    other = Programme(12, np.arange(12), tuple(changed), (), np.ones(12, dtype=bool))
    assert other.insured(ground_up * unit) / unit == pytest.approx(programme.insured(ground_up), abs=1e-6)
