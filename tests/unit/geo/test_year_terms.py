"""Annual aggregates, reinstatements and aggregate covers of OED rows: by hand, and against loops in plain Python."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidInput
from geo import covers_oed, ep_files, terms_files, year_files
from geo.loss import ALL_SOURCES, Chain, Occurrences, Sources, every_sample, year_losses
from geo.terms import FloatArray
from geo.terms_rows import UnclearTerms

LOC = "PortNumber,AccNumber,LocNumber,LocPerilsCovered,LocCurrency,BuildingTIV,ContentsTIV"
ACC = "PortNumber,AccNumber,PolNumber,LayerNumber,AccCurrency,PolPerilsCovered"
INFO = "ReinsNumber,ReinsType,RiskLevel,InuringPriority,PlacedPercent"


def _book(folder: Path, loc: str, acc: str, info: str = "", scope: str = "") -> terms_files.LossBook:
    for name, text in {"loc": loc, "acc": acc, "info": info, "scope": scope}.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return terms_files.load(
        folder / "loc.csv", folder / "acc.csv", ri_info=folder / "info.csv" if info else None,
        ri_scope=folder / "scope.csv" if scope else None,
    )  # fmt: skip


def _year(book: terms_files.LossBook, ratios: list[float]) -> list[tuple[float, float]]:
    """(insured, net) of each event of one year."""
    state = book.new_year()
    return [(float(il.sum()), float(ri.sum())) for _, il, ri in (book.losses(ratio, state) for ratio in ratios)]


@pytest.mark.parametrize(
    ("terms", "paid"),
    [
        # value 200; the losses of the year are 20, 60, 40, 100 and add up to 20, 80, 120, 220
        ("Ded=70,DedCode=1", [0, 10, 40, 100]),
        ("Ded=0.35,DedType=2,DedCode=1", [0, 10, 40, 100]),
        ("Ded=0.1,DedType=1,DedCode=1", [18, 54, 36, 90]),
        ("Limit=90,LimitCode=1", [20, 60, 10, 0]),
        ("Limit=0.45,LimitType=2,LimitCode=1", [20, 60, 10, 0]),
        # of each event 15 is taken; of the year's sum 100 is paid: 5, 45, 25 and what is left
        ("Ded=15,Limit=100,LimitCode=1", [5, 45, 25, 25]),
        # of the year's sum 50 is taken; of each event 30 is paid at most
        ("Ded=50,DedCode=1,Limit=30", [0, 30, 30, 30]),
        ("Ded=50,DedCode=1,Limit=60,LimitCode=1", [0, 30, 30, 0]),
        # half of the year's sum at most, of events less 15: 5, 50, 75, 160 within 10, 40, 60, 110
        ("Ded=15,Limit=0.5,LimitType=1,LimitCode=1", [5, 35, 20, 50]),
        ("Ded=30,DedCode=2,Limit=90,LimitCode=1", [0, 60, 30, 0]),
        ("Ded=30,DedCode=3", [0, 30, 10, 70]),
    ],
)
@pytest.mark.parametrize("level", ["LocX6All", "LocX1Building", "CondX6All", "PolX6All", "PolX5PD", "AccX6All"])
def test_codes_of_the_year_by_hand(level: str, terms: str, paid: list[float], tmp_path: Path) -> None:
    fields = dict(part.split("=") for part in terms.split(","))
    names = [level.replace("X", name) for name in fields]
    header, values = ",".join(names), ",".join(fields.values())
    if level.startswith("Loc"):
        loc, acc = f"{LOC},{header}\n1,A,1,WTC,EUR,200,,{values}\n", f"{ACC}\n1,A,P,1,EUR,WTC\n"
    else:
        loc = f"{LOC},CondTag\n1,A,1,WTC,EUR,200,,T\n"
        acc = f"{ACC},CondTag,CondNumber,{header}\n1,A,P,1,EUR,WTC,T,1,{values}\n"
    book = _book(tmp_path, loc, acc)
    told = [il for il, _ in _year(book, [0.1, 0.3, 0.2, 0.5])]
    assert told == pytest.approx(paid)
    # an event alone is the first of its year, and says so where that matters
    first = terms_files.summary(book, book.losses(0.1))
    assert first["loss_il"] == pytest.approx(paid[0])
    assert book.annual is ("Code=1" in terms)
    assert any("first of its year" in what for what in first["assumed"]) is book.annual
    # the next year knows nothing of this one
    assert [il for il, _ in _year(book, [0.1])] == pytest.approx(paid[:1])


def test_an_annual_limit_stands_beside_bounds_of_another_level(tmp_path: Path) -> None:
    """Site 10 % of the loss, 30 at most; policy 100 of the year: 200 -> 180, 100; then nothing is left."""
    loc = f"{LOC},LocDed6All,LocDedType6All,LocMaxDed6All\n1,A,1,WTC,EUR,200,,0.1,1,30\n"
    acc = f"{ACC},PolLimit6All,PolLimitCode6All\n1,A,P,1,EUR,WTC,100,1\n"
    book = _book(tmp_path, loc, acc)
    assert book.book.programme.bounded
    assert [il for il, _ in _year(book, [0.2, 0.5, 1.0])] == pytest.approx([36.0, 64.0, 0.0])
    acc = f"{ACC},PolDed6All,PolDedCode6All\n1,A,P,1,EUR,WTC,100,1\n"
    assert [il for il, _ in _year(_book(tmp_path, loc, acc), [0.5, 0.5])] == pytest.approx([0.0, 80.0])
    for terms in ("PolDed6All,PolDedCode6All\n1,A,P,1,EUR,WTC,10,3\n",
                  "PolLimit6All,PolLimitType6All,PolLimitCode6All\n1,A,P,1,EUR,WTC,0.5,1,1\n"):  # fmt: skip
        with pytest.raises(UnclearTerms, match="minimum or maximum"):
            _book(tmp_path, loc, f"{ACC},{terms}")


def _node(ded: float, ded_annual: bool, limit: float, limit_annual: bool, share: float) -> Any:
    """A node of terms as a plain loop over a year: a function of its events' losses."""

    def paid(losses: list[float]) -> list[float]:
        kept, left, out = 0.0, limit, []
        for loss in losses:
            take = min(loss, max(ded - kept, 0.0)) if ded_annual else min(loss, ded)
            kept += take
            pays = min(loss - take, left if limit_annual else limit)
            left -= pays if limit_annual else 0.0
            out.append(pays * share)
        return out

    return paid


@pytest.mark.parametrize("seed", range(12))
def test_nested_aggregates_are_the_loop_over_the_year(seed: int, tmp_path: Path) -> None:
    """Random terms at coverage, site, policy, layer and account against a loop that sums node by node."""
    rng = np.random.default_rng(seed)

    def terms(prefix: str, suffix: str, scale: float) -> tuple[dict[str, float], Any]:
        ded, limit = float(rng.integers(0, 40)) * scale, float(rng.integers(20, 120)) * scale
        codes = rng.integers(0, 2, 2)
        names = {f"{prefix}Ded{suffix}": ded, f"{prefix}DedCode{suffix}": codes[0], f"{prefix}Limit{suffix}": limit,
                 f"{prefix}LimitCode{suffix}": codes[1]}  # fmt: skip
        return names, _node(ded, bool(codes[0]), limit, bool(codes[1]), 1.0)

    values = rng.integers(50, 300, (3, 2)).astype(float)
    loc_rows, nodes = [], []
    for _ in range(3):
        b, node_b = terms("Loc", "1Building", 0.5)
        c, node_c = terms("Loc", "3Contents", 0.5)
        a, node_a = terms("Loc", "6All", 1.0)
        loc_rows.append({**b, **c, **a})
        nodes.append((node_b, node_c, node_a))
    p, node_p = terms("Pol", "6All", 3.0)
    q, node_q = terms("Acc", "6All", 2.0)
    share, attachment = 0.7, 15.0
    loc = f"{LOC},{','.join(loc_rows[0])}\n" + "".join(
        f"1,A,{i + 1},WTC,EUR,{values[i, 0]:g},{values[i, 1]:g},{','.join(f'{v:g}' for v in row.values())}\n"
        for i, row in enumerate(loc_rows)
    )
    acc = f"{ACC},LayerAttachment,LayerParticipation,{','.join((*p, *q))}\n1,A,P,1,EUR,WTC,{attachment},{share}," + (
        ",".join(f"{v:g}" for v in (*p.values(), *q.values())) + "\n"
    )
    book = _book(tmp_path, loc, acc)
    ratios = rng.uniform(0, 1, (6, 3)).round(3)
    state, ours = book.new_year(), []
    for event in ratios:
        ground_up, insured, _ = book.losses(np.repeat(event, 2), state)
        assert (insured <= ground_up * (1 + 1e-12) + 1e-9).all()
        ours.append(float(insured.sum()))
    sites = []
    for place, (node_b, node_c, node_a) in enumerate(nodes):
        buildings, contents = ((ratios[:, place] * values[place, i]).tolist() for i in (0, 1))
        both = zip(node_b(buildings), node_c(contents), strict=True)
        sites.append(node_a([x + y for x, y in both]))
    policy = node_p([float(x) for x in np.sum(sites, axis=0)])
    layer = [max(x - attachment, 0.0) * share for x in policy]
    assert ours == pytest.approx(node_q(layer), abs=1e-9)


def test_the_year_of_aggregates_alone_is_the_terms_of_its_sum(tmp_path: Path) -> None:
    """Where deductible and limit are both of the year the events' payments add up to the terms of the year's loss."""
    acc = f"{ACC},PolDed6All,PolDedCode6All,PolLimit6All,PolLimitCode6All\n1,A,P,1,EUR,WTC,70,1,200,1\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", acc)
    rng = np.random.default_rng(4)
    for _ in range(50):
        ratios = rng.uniform(0, 1, 5)
        paid = sum(il for il, _ in _year(book, ratios.tolist()))
        assert paid == pytest.approx(min(max(100 * ratios.sum() - 70, 0.0), 200.0))


# ---------------------------------------------------------------- treaties of the year
def test_reinstatements_of_oed_rows_by_hand(tmp_path: Path) -> None:
    """40 xs 20 with one reinstatement at 100 %, placed 50 %, premium 8: the layer is 0, 40, 30, 10 of 80, then empty.

    Reinstated are 40 of the first 40 that are paid: premium 8 x 40/40 x 50 % = 4, all due with the second event.
    """
    info = (
        f"{INFO},OccLimit,OccAttachment,Reinstatement,ReinstatementCharge,ReinsPremium\n1,CXL,SEL,1,0.5,40,20,1,1,8\n"
    )
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", f"{ACC}\n1,A,P,1,EUR,WTC\n", info,
                 "ReinsNumber,PortNumber\n1,1\n")  # fmt: skip
    state, net, due = book.new_year(), [], []
    for ratio in (0.1, 0.9, 0.5, 0.4, 0.9):
        net.append(float(book.losses(ratio, state)[2].sum()))
        due.append(state.outward.premium)
    assert net == pytest.approx([10.0, 90 - 20.0, 50 - 15.0, 40 - 5.0, 90.0])
    assert due == pytest.approx([0.0, 4.0, 4.0, 4.0, 4.0])


def test_several_charges_and_partial_reinstatement(tmp_path: Path) -> None:
    """Two reinstatements, the first free, the second at half the premium of 10: 15 of 20 used, 35, then 60 at most."""
    info = f"{INFO},OccLimit,Reinstatement,ReinstatementCharge,ReinsPremium\n1,CXL,SEL,1,1,20,2,0;0.5,10\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", f"{ACC}\n1,A,P,1,EUR,WTC\n", info,
                 "ReinsNumber,PortNumber\n1,1\n")  # fmt: skip
    state, due = book.new_year(), []
    for ratio in (0.15, 0.2, 1.0, 1.0):
        book.losses(ratio, state)
        due.append(state.outward.premium)
    assert due == pytest.approx([0.0, 5 * 15 / 20, 5.0, 5.0])


def test_an_aggregate_excess_follows_the_occurrence_cover(tmp_path: Path) -> None:
    """CXL 30 xs 20 of each event (priority 1), AXL 50 xs 60 of what the year leaves (priority 2), placed 80 %.

    Events 40, 90, 30, 100 leave 20, 60, 20, 70, in sum 20, 80, 100, 170; above 60: 0, 20, 20, 10 within 50.
    """
    info = f"{INFO},OccLimit,OccAttachment,AggLimit,AggAttachment\n1,CXL,SEL,1,1,30,20,,\n2,AXL,SEL,2,0.8,,,50,60\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,60,40\n", f"{ACC}\n1,A,P,1,EUR,WTC\n", info,
                 "ReinsNumber,PortNumber\n1,1\n2,1\n")  # fmt: skip
    net = [ri for _, ri in _year(book, [0.4, 0.9, 0.3, 1.0])]
    assert net == pytest.approx([20.0, 60 - 16.0, 20 - 16.0, 70 - 8.0])
    # alone, an event is the first of its year: 100 leaves 70, the aggregate pays 10 of it at 80 %
    told = terms_files.summary(book, book.losses(1.0))
    assert told["loss_ri"] == pytest.approx(70 - 8.0)
    assert "first of its year" in next(iter(told["assumed"]))


def test_franchises_of_an_occurrence(tmp_path: Path) -> None:
    info = f"{INFO},OccLimit,OccFranchiseDed,OccReverseFranchise\n1,CXL,SEL,1,1,50,30,80\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", f"{ACC}\n1,A,P,1,EUR,WTC\n", info,
                 "ReinsNumber,PortNumber\n1,1\n")  # fmt: skip
    net = [float(book.losses(ratio)[2].sum()) for ratio in (0.3, 0.4, 0.8, 0.9)]
    assert net == pytest.approx([30.0, 0.0, 30.0, 90.0])


@pytest.mark.parametrize("seed", range(8))
def test_treaties_of_the_year_are_the_loop(seed: int, tmp_path: Path) -> None:
    """Random excess and aggregate covers of one and two priorities against a loop over the year's events."""
    rng = np.random.default_rng(100 + seed)
    covers = []
    for number in (1, 2, 3):
        kind = ("CXL", "AXL", "CXL")[number - 1]
        covers.append({
            "kind": kind, "priority": int(rng.integers(1, 3)), "placed": round(float(rng.uniform(0.3, 1)), 2),
            "ceded": round(float(rng.uniform(0.5, 1)), 2), "limit": float(rng.integers(20, 60)) if kind == "CXL" else 0,
            "attachment": float(rng.integers(0, 40)) if kind == "CXL" else 0, "agg": float(rng.integers(30, 150)),
            "agg_att": float(rng.integers(0, 40)), "again": int(rng.integers(0, 3)) if kind == "CXL" else "",
        })  # fmt: skip
    rows = "".join(
        f"{i},{c['kind']},SEL,{c['priority']},{c['placed']},{c['ceded']},{c['limit']:g},{c['attachment']:g},"
        f"{c['agg']:g},{c['agg_att']:g},{c['again']},1,7\n"
        for i, c in enumerate(covers, start=1)
    )
    info = (
        f"{INFO},CededPercent,OccLimit,OccAttachment,AggLimit,AggAttachment,Reinstatement,ReinstatementCharge,"
        f"ReinsPremium\n{rows}"
    )
    scope = "ReinsNumber,PortNumber\n1,1\n2,1\n3,1\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,60,40\n", f"{ACC}\n1,A,P,1,EUR,WTC\n", info, scope)
    ratios = rng.uniform(0, 1, 8).round(3).tolist()
    seen = [0.0, 0.0, 0.0]
    expected = []
    for ratio in ratios:
        left = 100.0 * ratio
        for priority in (1, 2):
            start = left
            for i, c in enumerate(covers):
                if c["priority"] != priority:
                    continue
                x = min(max(start * c["ceded"] - c["attachment"], 0.0), c["limit"] or np.inf)
                most = min(c["agg"], c["limit"] * (1 + c["again"]) if c["again"] != "" else np.inf)
                before, after = (min(max(s - c["agg_att"], 0.0), most) for s in (seen[i], seen[i] + x))
                seen[i] += x
                left = max(left - (after - before) * c["placed"], 0.0)
        expected.append(left)
    assert [ri for _, ri in _year(book, ratios)] == pytest.approx(expected, abs=1e-9)

    # the same rows through `tocsin ep --ri-info`, on the table of the same year
    table = tmp_path / "ylt.csv"
    table.write_text("year,day,loss\n" + "".join(f"1,{day},{100 * r:.6f}\n" for day, r in enumerate(ratios)))
    years = ep_files.read_losses(table, 1)
    net, premium, told = covers_oed.apply_contracts(years, covers_oed.read_contracts(tmp_path / "info.csv"))
    assert net.loss.tolist() == pytest.approx(expected, abs=1e-6)
    state = book.new_year()
    for ratio in ratios:
        book.losses(ratio, state)
    assert premium[0] == pytest.approx(state.outward.premium, abs=1e-6)
    assert len(told) == 3


# ---------------------------------------------------------------- files
def test_from_occurrences_to_year_tables(tmp_path: Path) -> None:
    """The file is in no order, its years begin anew, and its lines name what they hit."""
    loc = f"{LOC}\n1,A,1,WTC,EUR,100,20\n1,A,2,WTC,EUR,50,\n1,B,1,WTC,EUR,80,\n"
    acc = f"{ACC},PolLimit6All,PolLimitCode6All\n1,A,P,1,EUR,WTC,90,1\n1,B,P,1,EUR,WTC,,\n"
    book = _book(tmp_path, loc, acc)
    events = tmp_path / "events.csv"
    events.write_text(
        "year,day,event_id,damage_ratio,AccNumber,LocNumber,coverage_type_id\n"
        "1,200,late,0.5,,,\n\n1,10,early,0.8,A,1,1\n1,10,early,0.1,B,,\n2,3,next,1,A,,\n"
    )
    told = year_files.run(events, book, tmp_path / "items.csv", tmp_path / "ylt.csv")
    # year 1: 80 and 8, then 10 of 85 and 40; year 2: 90 of 170
    assert (told["n_occurrences"], told["loss_il"]) == (3, pytest.approx(88 + 50 + 90))
    with (tmp_path / "ylt_il.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["year"], r["event_id"], float(r["loss"])) for r in rows] == [
        ("1", "early", pytest.approx(88.0)), ("1", "late", pytest.approx(50.0)), ("2", "next", pytest.approx(90.0))
    ]  # fmt: skip
    with (tmp_path / "items.csv").open() as file:
        items = list(csv.DictReader(file))
    assert sum(float(r["loss_il"]) for r in items) == pytest.approx(told["loss_il"])
    assert len(items) == 3 * 4
    ep = ep_files.run(tmp_path / "ylt_ri.csv", tmp_path / "ep.csv", n_years=2, seed=1, return_periods=(2.0,),
                      ylt_out=None)  # fmt: skip
    assert ep["aal"] == pytest.approx(told["loss_ri"] / 2)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1,1,a,1.2,,,", "line 3: damage_ratio: 1.2 is not between 0 and 1"),
        ("0,1,a,1,,,", "line 3: year: 0 is not a whole number from 1"),
        ("1,400,a,1,,,", "line 3: day: 400 is no day of a year"),
        ("1,1,a,x,,,", "line 3: damage_ratio: 'x' is not a number"),
        ("1,1,a,1,Z,,", "line 3: AccNumber: 'Z' is not in the book"),
        ("1,1,a,1,A,9,", "line 3: LocNumber: '9' is not in the book"),
        ("1,1,a,1,,1,", "line 3: AccNumber: it is empty"),
        ("1,1,a,1,A,1,7", "line 3: coverage_type_id: '7' is none of"),
        ("1,1,a,1,A,1,1\n1,1,a,1,,,", "line 4: names an item that another line"),
    ],
)
def test_bad_occurrences_are_told_with_line_and_field(line: str, told: str, tmp_path: Path) -> None:
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,20\n", f"{ACC}\n1,A,P,1,EUR,WTC\n")
    events = tmp_path / "events.csv"
    events.write_text(f"year,day,event_id,damage_ratio,AccNumber,LocNumber,coverage_type_id\n\n{line}\n")
    with pytest.raises(InvalidInput) as caught:
        list(year_files.occurrences(events, book))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("1,FAC,SEL,1,1,,", "line 2: ReinsType: 'FAC' answers to single risks"),
        ("1,QS,SEL,1,1,5,", "line 2: RiskLimit: is not computed on a loss table"),
        ("1,CXL,SEL,1,0,,", "line 2: PlacedPercent: 0 takes nothing"),
        ("1,CXL,SEL,1,1,,30", "line 2: OccFranchiseDed: is not computed on a loss table"),
    ],
)
def test_contracts_that_a_loss_table_cannot_answer_are_told(row: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "info.csv").write_text(f"{INFO},RiskLimit,OccFranchiseDed\n{row}\n")
    with pytest.raises(InvalidInput) as caught:
        covers_oed.read_contracts(tmp_path / "info.csv")
    assert told in str(caught.value)


def test_ep_takes_covers_from_oed_rows_or_json_and_they_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    table = tmp_path / "ylt.csv"
    lines = sorted((int(rng.integers(1, 201)), float(rng.uniform(0, 365))) for _ in range(600))
    table.write_text("year,day,loss\n" + "".join(f"{y},{d:.3f},{rng.lognormal(3, 1):.2f}\n" for y, d in lines))
    (tmp_path / "info.csv").write_text(
        f"{INFO},OccLimit,OccAttachment,AggLimit,AggAttachment,Reinstatement,ReinstatementCharge,ReinsPremium\n"
        "1,CXL,SEL,1,0.9,60,30,,,1,0.5,6\n2,AXL,SEL,2,1,,,80,100,,,\n"
    )
    (tmp_path / "cover.json").write_text(json.dumps({
        "excess": {"attachment": 30, "limit": 60, "reinstatements": 1, "share": 0.9, "premium": 6,
                   "reinstatement_rates": [0.5]},
        "aggregate": {"attachment": 100, "limit": 80},
    }))  # fmt: skip
    common: dict[str, Any] = {"n_years": 200, "seed": 1, "return_periods": (10.0, 100.0), "ylt_out": None}
    rows = ep_files.run(table, tmp_path / "a.csv", ri_info=tmp_path / "info.csv", **common)
    text = ep_files.run(table, tmp_path / "b.csv", cover=tmp_path / "cover.json", **common)
    assert rows["aal"] == pytest.approx(text["aal"])
    aep = [[line["loss"] for line in told["lines"] if line["curve"] == "AEP"] for told in (rows, text)]
    assert aep[0] == pytest.approx(aep[1])
    assert rows["cover"]["reinstatement_premium"] == pytest.approx(text["cover"]["reinstatement_premium"]) != 0
    with pytest.raises(InvalidInput, match="give one of them"):
        ep_files.run(table, tmp_path / "c.csv", cover=tmp_path / "cover.json", ri_info=tmp_path / "info.csv", **common)


class _Fixed:
    """An event whose samples are given: implements GroundUp."""

    def __init__(self, event: int, ratio: FloatArray, value: FloatArray) -> None:
        self.event, self.ratio, self.value = event, ratio, value
        self.exposed = float(value.sum())

    def draw(self, sample: int, sources: Sources, out: FloatArray) -> None:
        assert sources is ALL_SOURCES
        out[:] = self.value * self.ratio[sample]


def test_years_of_an_event_set_run_their_terms_out_sample_by_sample(tmp_path: Path) -> None:
    """Occurrences that are not in the order of days, two samples: each sample of a year has its own state."""
    acc = f"{ACC},PolDed6All,PolDedCode6All,PolLimit6All,PolLimitCode6All\n1,A,P,1,EUR,WTC,30,1,120,1\n"
    info = f"{INFO},OccLimit,OccAttachment,Reinstatement\n1,CXL,SEL,1,1,40,10,0\n"
    book = _book(tmp_path, f"{LOC}\n1,A,1,WTC,EUR,100,\n", acc, info, "ReinsNumber,PortNumber\n1,1\n")
    ratios = {7: np.array([0.2, 0.9]), 8: np.array([0.6, 0.1]), 9: np.array([1.0, 0.5])}
    value = book.book.item_tiv
    events = [_Fixed(event, ratio, value) for event, ratio in ratios.items()]
    happened = Occurrences(np.array([0, 0, 0, 2, 1]), np.array([8, 7, 9, 9, 5]), 3, np.array([90.0, 10.0, 200.0, 4, 5]))
    chain = Chain(book.book.programme, book.outward, book.book.row_policy, 1)
    run = year_losses(chain, events, happened, 2)
    assert run.event_id.tolist() == [7, 8, 9, 9]
    for sample in (0, 1):
        first = _year(book, [float(ratios[e][sample]) for e in (7, 8, 9)])
        second = _year(book, [float(ratios[9][sample])])
        for number, (il, ri) in enumerate([*first, *second]):
            assert run.events[number].total[1:, sample] == pytest.approx([il, ri])
    years, _ = every_sample(run.events, run.occurrences, "ri", 2)
    assert years.annual().sum() == pytest.approx(sum(float(e.total[2].sum()) for e in run.events))
    assert years.n_years == 6
