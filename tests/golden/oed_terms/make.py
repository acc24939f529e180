# ruff: noqa: RUF005
"""Makes the cases in this folder and asks oasislmf what they lose.

Run with the interpreter of an environment that has oasislmf 2.5.8, ods-tools 5.0.9 and pandas below 3:

    OASIS_FLOAT=f8 PYTHON make.py

Writes direct.json, steps.json, perils.json and reinsurance.json: the OED files as text, and the oracle's losses of each item, policy and layer
at each damage ratio (`oasislmf exposure run`, one peril, allocation rules as it comes: 2 and 3). Each account of
direct.json, steps.json and perils.json is a case of its own and named for what it shows. The files are kept; this script is how they were made.
"""

import csv
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RATIOS = (0.05, 0.25, 0.5, 1.0)
TIV = {"BuildingTIV": 100_000, "OtherTIV": 20_000, "ContentsTIV": 50_000, "BITIV": 30_000}

Row = dict[str, Any]


def direct() -> tuple[list[Row], list[Row]]:
    """(locations, policies): an account for each kind of term."""
    locations: list[Row] = []
    policies: list[Row] = []

    def case(name: str, loc: list[Row] | Row | None = None, acc: list[Row] | Row | None = None) -> None:
        places = [loc or {}, {}, {}] if not isinstance(loc, list) else loc
        for i, terms in enumerate(places, start=1):
            value = {key: amount * i for key, amount in TIV.items()}
            locations.append(
                {"PortNumber": 1, "AccNumber": name, "LocNumber": i, "CountryCode": "US", "LocPerilsCovered": "WTC",
                 "LocCurrency": "USD", "IsAggregate": 0, "NumberOfBuildings": 1, **value, **terms}
            )  # fmt: skip
        rows = acc if isinstance(acc, list) else [acc or {}]
        for i, terms in enumerate(rows, start=1):
            policies.append(
                {"PortNumber": 1, "AccNumber": name, "PolNumber": f"P{i}", "LayerNumber": 1, "AccCurrency": "USD",
                 "PolPerilsCovered": "WTC", "PolPeril": "WTC", **terms}
            )  # fmt: skip

    def both(prefix: str, suffix: str, **terms: Any) -> Row:
        return {f"{prefix}{term}{suffix}": value for term, value in terms.items()}

    case("no terms")
    # every suffix at the site, flat deductible and limit
    for suffix in ("1Building", "2Other", "3Contents", "4BI", "5PD", "6All"):
        case(f"site {suffix} deductible", both("Loc", suffix, Ded=4000))
        case(f"site {suffix} limit", both("Loc", suffix, Limit=9000))
        case(f"site {suffix} both", both("Loc", suffix, Ded=1500, Limit=12000))
        case(f"policy {suffix} both", None, both("Pol", suffix, Ded=6000, Limit=40000))
    kinds = {
        "of loss": {"Ded": 0.1, "DedType": 1},
        "of TIV": {"Ded": 0.02, "DedType": 2},
        "of loss, limit": {"Ded": 0.1, "DedType": 1, "Limit": 30000},
        "of loss, limit of loss": {"Ded": 0.1, "DedType": 1, "Limit": 0.6, "LimitType": 1},
        "of TIV, limit of TIV": {"Ded": 0.02, "DedType": 2, "Limit": 0.4, "LimitType": 2},
        "flat, limit of loss": {"Ded": 5000, "Limit": 0.7, "LimitType": 1},
        "limit of loss": {"Limit": 0.7, "LimitType": 1},
        "franchise": {"Ded": 9000, "DedCode": 2},
        "franchise, limit": {"Ded": 9000, "DedCode": 2, "Limit": 60000},
        "of TIV, minimum": {"Ded": 0.02, "DedType": 2, "MinDed": 7000},
        "minimum": {"MinDed": 7000},
        "maximum": {"MaxDed": 3000},
        "flat, minimum and maximum": {"Ded": 5000, "MinDed": 4000, "MaxDed": 8000},
        "of loss, minimum": {"Ded": 0.05, "DedType": 1, "MinDed": 6000},
        "of loss, maximum": {"Ded": 0.3, "DedType": 1, "MaxDed": 9000},
        "of loss, both, limit": {"Ded": 0.1, "DedType": 1, "MinDed": 3000, "MaxDed": 15000, "Limit": 70000},
        "minimum, limit": {"MinDed": 7000, "Limit": 50000},
        "maximum, limit": {"MaxDed": 4000, "Limit": 50000},
        "of loss, both, limit of loss": {
            "Ded": 0.1, "DedType": 1, "MinDed": 3000, "MaxDed": 15000, "Limit": 0.5, "LimitType": 1},
        "flat, minimum, limit of loss": {"Ded": 2000, "MinDed": 5000, "Limit": 0.5, "LimitType": 1},
    }  # fmt: skip
    for name, terms in kinds.items():
        case(f"site all {name}", both("Loc", "6All", **terms))
        case(f"site building {name}", both("Loc", "1Building", **terms))
        case(f"policy all {name}", None, both("Pol", "6All", **terms))
        # site deductibles and limits below, so that minimum and maximum have something to look at
        below = {**both("Loc", "1Building", Ded=3000, Limit=60000), **both("Loc", "3Contents", Ded=1000, Limit=15000)}
        case(f"site terms, site all {name}", {**below, **both("Loc", "6All", **terms)})
        case(f"site terms, policy all {name}", below, both("Pol", "6All", **terms))
        case(f"three sites with terms, policy all {name}", [below, below, below], both("Pol", "6All", **terms))
        case(
            f"all levels, policy PD {name}",
            [{**below, **both("Loc", "5PD", Ded=2000), **both("Loc", "6All", Limit=150000)}, below, {}],
            {**both("Pol", "5PD", **terms), **both("Pol", "6All", Ded=1000, Limit=250000)},
        )
    case("BI waiting period and period", {"BIWaitingPeriod": 10, "BIPOI": 180})
    case("BI period only", {"BIPOI": 90})
    case("aggregate, flat", {"IsAggregate": 1, "NumberOfBuildings": 4, **both("Loc", "6All", Ded=4000, Limit=90000)})
    case("aggregate, minimum of loss",
         {"IsAggregate": 1, "NumberOfBuildings": 4, **both("Loc", "6All", Ded=0.1, DedType=1, MinDed=3000)})  # fmt: skip
    case("several buildings, no aggregate",
         {"IsAggregate": 0, "NumberOfBuildings": 3, **both("Loc", "6All", Ded=0.1, DedType=1, MinDed=3000)})  # fmt: skip
    case("layer", None, {"LayerAttachment": 20000, "LayerLimit": 100000, "LayerParticipation": 0.3})
    case("layer without limit", None, {"LayerAttachment": 20000, "LayerParticipation": 0.5})
    case("share only", None, {"LayerParticipation": 0.25})
    case("limit and share", None, {"LayerLimit": 60000, "LayerParticipation": 0.25})
    case("three layers", both("Loc", "6All", Ded=2000), [
        {"LayerLimit": 50000, "LayerParticipation": 0.6},
        {"LayerAttachment": 50000, "LayerLimit": 100000, "LayerParticipation": 0.4},
        {"LayerAttachment": 150000, "LayerParticipation": 0.9, "PolNumber": "P2", "LayerNumber": 2},
    ])  # fmt: skip
    case("policy terms, layers", both("Loc", "5PD", Ded=1000), [
        {**both("Pol", "6All", Ded=10000), "LayerLimit": 50000, "LayerParticipation": 0.5},
        {**both("Pol", "6All", Ded=10000), "LayerAttachment": 50000, "LayerLimit": 90000, "LayerParticipation": 1},
    ])  # fmt: skip
    case("two policies, other terms", None, [both("Pol", "6All", Ded=10000), both("Pol", "6All", Ded=30000)])
    account = {"AccDed6All": 5000, "AccLimit6All": 60000}
    case("account", None, account)
    case("account of loss", None, {"AccDed6All": 0.1, "AccDedType6All": 1})
    case("account over layers", None, [
        {"LayerLimit": 50000, "LayerParticipation": 0.6, **account},
        {"LayerAttachment": 50000, "LayerLimit": 100000, "LayerParticipation": 0.4, **account},
    ])  # fmt: skip
    tag = {"CondNumber": 1, "CondTag": "A", "CondPeril": "WTC"}
    for name, terms in list(kinds.items())[:8] + [("minimum", kinds["minimum"])]:
        case(f"condition {name}", [{"CondTag": "A"}, {"CondTag": "A"}, {}], {**tag, **both("Cond", "6All", **terms)})
    case("condition coverage and PD", [{"CondTag": "A"}, {"CondTag": "A"}, {}],
         {**tag, **both("Cond", "1Building", Ded=2000), **both("Cond", "5PD", Limit=50000)})  # fmt: skip
    case("two conditions", [{"CondTag": "A"}, {"CondTag": "B"}, {}], [
        {**tag, **both("Cond", "6All", Limit=20000), **both("Pol", "6All", Ded=1000), "PolNumber": "P1"},
        {**tag, "CondNumber": 2, "CondTag": "B", **both("Cond", "6All", Ded=6000), **both("Pol", "6All", Ded=1000),
         "PolNumber": "P1"},
    ])  # fmt: skip
    case("restricting condition", [{"CondTag": "A"}, {"CondTag": "A"}, {}], [
        {**tag, "CondClass": 1, **both("Cond", "6All", Limit=20000), "LayerLimit": 90000, "LayerParticipation": 1},
        {"CondPeril": "WTC", "LayerLimit": 90000, "LayerAttachment": 90000, "LayerParticipation": 1},
    ])  # fmt: skip
    case("whole programme", [
        {"CondTag": "A", **both("Loc", "1Building", Ded=0.02, DedType=2), **both("Loc", "6All", Limit=120000)},
        {"CondTag": "A", **both("Loc", "3Contents", Ded=500), "BIWaitingPeriod": 5, "BIPOI": 120},
        {},
    ], [
        {**tag, **both("Cond", "6All", Ded=5000, Limit=100000), **both("Pol", "6All", MinDed=12000, MaxDed=40000),
         "LayerLimit": 60000, "LayerParticipation": 0.7, "AccLimit6All": 80000, "AccParticipation": 0.9},
        {**tag, **both("Cond", "6All", Ded=5000, Limit=100000), **both("Pol", "6All", MinDed=12000, MaxDed=40000),
         "LayerAttachment": 60000, "LayerLimit": 200000, "LayerParticipation": 0.3, "AccLimit6All": 80000,
         "AccParticipation": 0.9},
    ])  # fmt: skip
    return locations, policies


def steps() -> tuple[list[Row], list[Row]]:
    """(locations, policies): an account for each kind of step policy that the oracle knows."""
    locations: list[Row] = []
    policies: list[Row] = []
    parts = {1: ["Building"], 2: ["Contents"], 3: ["BuildingContents"], 5: ["Building", "Contents"]}

    def case(
        name: str, kind: int, measures: tuple[int, int], bands: list[tuple[float, float, float]], *, limit: float = 0,
        deductible: float = 0, site: Row | None = None, policy: Row | None = None, n: int = 2, **common: Any,
    ) -> None:  # fmt: skip
        for i in range(1, n + 1):
            value = {key: amount * i for key, amount in TIV.items()}
            locations.append(
                {"PortNumber": 1, "AccNumber": f"{kind} {name}", "LocNumber": i, "CountryCode": "US",
                 "LocPerilsCovered": "WTC", "LocCurrency": "USD", "IsAggregate": 0, "NumberOfBuildings": 1, **value,
                 **(site or {})}
            )  # fmt: skip
        for number, (start, end, pays) in enumerate(bands, start=1):
            row: Row = {
                "PortNumber": 1, "AccNumber": f"{kind} {name}", "PolNumber": "P1", "LayerNumber": 1,
                "AccCurrency": "USD", "PolPerilsCovered": "WTC", "PolPeril": "WTC", "StepFunctionName": "s",
                "StepNumber": number, "StepTriggerType": kind, "TriggerType": measures[0], "PayOutType": measures[1],
                **common, **(policy or {}),
            }  # fmt: skip
            for part in parts[kind]:
                row |= {f"Trigger{part}Start": start, f"Trigger{part}End": end, f"PayOut{part}Start": pays,
                        f"PayOutLimit{part}": limit, f"Deductible{part}": deductible}  # fmt: skip
            policies.append(row)

    shares = [(0.0, 0.1, 0.02), (0.1, 0.4, 0.2), (0.4, 1.0, 0.8)]
    amounts = [(0.0, 0.1, 500.0), (0.1, 0.4, 5000.0), (0.4, 1.0, 50000.0)]
    triggers = [(0.0, 5000.0, 0.1), (5000.0, 40000.0, 0.3)]
    further = {"ExtraExpenseFactor": 0.1, "ExtraExpenseLimit": 300, "DebrisRemovalFactor": 0.05}
    for kind in parts:
        case("share of value pays share of value", kind, (2, 2), shares)
        case("share of value pays share of value to a limit", kind, (2, 2), shares, limit=30000)
        case("share of value pays share of value, expenses", kind, (2, 2), shares, limit=20000, **further)
        case("share of value pays share of value, debris", kind, (2, 2), shares, DebrisRemovalFactor=0.1)
        case("share of value pays share of loss", kind, (2, 1), shares)
        case("share of value pays share of loss, deductible", kind, (2, 1), shares, deductible=100)
        case("share of value pays share of loss, both", kind, (2, 1), shares, deductible=100, limit=20000)
        case("share of value pays share of loss, expenses", kind, (2, 1), shares, **further)
        case("share of value pays share of loss to a limit, expenses", kind, (2, 1), shares, limit=20000, **further)
        case("expenses alone on top", kind, (2, 1), [*shares, (0.0, 1.0, 0.0)], **further)
        case("share of value pays share of limit", kind, (2, 3), shares, limit=40000)
        case("share of value pays an amount", kind, (2, 0), amounts)
        case("amount pays share of loss to a limit", kind, (0, 1), triggers, limit=9000)
        case("amount pays share of loss, expenses", kind, (0, 1), triggers, limit=9000, **further)
        case("site terms and a layer", kind, (2, 1), shares, site={"LocDed6All": 2000, "LocLimit1Building": 60000},
             policy={"LayerAttachment": 1000, "LayerLimit": 40000, "LayerParticipation": 0.5})  # fmt: skip
        case("policy terms below", kind, (2, 2), shares, policy={"PolDed3Contents": 1000, "PolDed5PD": 500})
        case("one location", kind, (2, 2), shares, n=1)
    return locations, policies


def perils() -> tuple[list[Row], list[Row]]:
    """(locations, policies): terms that name the event's peril WTC, another one, or a group that holds it.

    Every policy covers the event: the oracle does not look at PolPerilsCovered.
    """
    locations: list[Row] = []
    policies: list[Row] = []
    layer = {"LayerAttachment": 5000, "LayerLimit": 30000, "LayerParticipation": 0.5}

    def case(name: str, rows: list[Row], site: list[Row] | None = None) -> None:
        for i in (1, 2):
            value = {key: amount * i for key, amount in TIV.items()}
            locations.extend(
                {"PortNumber": 1, "AccNumber": name, "LocNumber": i, "CountryCode": "US",
                 "LocPerilsCovered": "WTC;ORF", "LocCurrency": "USD", "IsAggregate": 0, "NumberOfBuildings": 1,
                 **value, **terms}
                for terms in (site or [{}])
            )  # fmt: skip
        policies.extend(
            {"PortNumber": 1, "AccNumber": name, "PolNumber": "P1", "LayerNumber": 1, "AccCurrency": "USD",
             "PolPerilsCovered": "AA1", "PolPeril": "AA1", **row}
            for row in rows
        )  # fmt: skip

    case("policy terms of another peril below a layer", [{"PolPeril": "ORF", "PolDed6All": 3000, **layer}])
    case("policy terms of another peril", [{"PolPeril": "ORF", "PolDed6All": 3000}])
    case("policy terms of a group", [{"PolPeril": "WW1", "PolDed6All": 3000, **layer}])
    both = [{"PolPeril": "WTC", "PolLimit6All": 20000, **layer}, {"PolPeril": "ORF", "PolLimit6All": 5000, **layer}]
    case("policy limits by peril", both)
    case("policy limits by peril, the other first", both[::-1])
    case("site terms of another peril", [{}], [{"LocPeril": "ORF", "LocDed6All": 2000}])
    case("site terms of all perils", [{}], [{"LocPeril": "AA1", "LocDed6All": 2000}])
    case(
        "site terms by peril", [{}], [{"LocPeril": "ORF", "LocDed6All": 8000}, {"LocPeril": "WTC", "LocDed6All": 2000}]
    )
    case("account terms of another peril", [{"AccPeril": "ORF", "AccDed6All": 2000, **layer}])
    case("account terms of the peril", [{"AccPeril": "WTC", "AccDed6All": 2000, **layer}])
    tag = {"CondTag": "A", "CondPriority": 1, **layer}
    case("condition of another peril", [{**tag, "CondNumber": 1, "CondPeril": "ORF", "CondDed6All": 2000}],
         [{"CondTag": "A"}])  # fmt: skip
    case("conditions by peril", [{**tag, "CondNumber": 1, "CondPeril": "WTC", "CondDed6All": 2000},
                                 {**tag, "CondNumber": 2, "CondPeril": "ORF", "CondDed6All": 7000}],
         [{"CondTag": "A"}])  # fmt: skip
    return locations, policies


def _book() -> tuple[list[Row], list[Row]]:
    locations: list[Row] = []
    policies: list[Row] = []
    for account in ("A", "B"):
        for i in (1, 2, 3, 4):
            value = {key: amount * i for key, amount in TIV.items()}
            locations.append(
                {"PortNumber": 1, "AccNumber": account, "LocNumber": i, "LocGroup": f"G{i % 2}",
                 "CountryCode": "US" if i < 3 else "CA", "LocPerilsCovered": "WTC", "LocCurrency": "USD",
                 "IsAggregate": 0, "NumberOfBuildings": 1, "LocDed6All": 1000 * i, **value}
            )  # fmt: skip
        for layer in (1, 2):
            policies.append(
                {"PortNumber": 1, "AccNumber": account, "PolNumber": f"{account}{layer}", "LayerNumber": layer,
                 "AccCurrency": "USD", "PolPerilsCovered": "WTC", "PolPeril": "WTC", "LOB": f"L{layer}",
                 "LayerAttachment": 200000 * (layer - 1), "LayerLimit": 200000, "LayerParticipation": 0.8,
                 "PolInceptionDate": "2026-01-01", "PolExpiryDate": "2026-12-31"}
            )  # fmt: skip
    return locations, policies


def reinsurance() -> dict[str, tuple[list[Row], list[Row]]]:
    """Name to (info, scope)."""
    found: dict[str, tuple[list[Row], list[Row]]] = {}

    def info(number: int, kind: str, level: str, priority: int = 1, **terms: Any) -> Row:
        return {"ReinsNumber": number, "ReinsLayerNumber": 1, "ReinsName": f"R{number}", "ReinsPeril": "WTC",
                "ReinsCurrency": "USD", "InuringPriority": priority, "ReinsType": kind, "RiskLevel": level,
                "CededPercent": 1, "PlacedPercent": 1, "RiskLimit": 0, "RiskAttachment": 0, "OccLimit": 0,
                "OccAttachment": 0, "UseReinsDates": "N", **terms}  # fmt: skip

    def scope(number: int, **fields: Any) -> Row:
        return {"ReinsNumber": number, "CededPercent": 1, **fields}

    everything = {"PortNumber": 1}
    found["quota share"] = ([info(1, "QS", "SEL", CededPercent=0.3)], [scope(1, **everything)])
    found["quota share, placed, occurrence limit"] = (
        [info(1, "QS", "SEL", CededPercent=0.4, PlacedPercent=0.8, OccLimit=50000)], [scope(1, **everything)])  # fmt: skip
    found["quota share by location, risk limit"] = (
        [info(1, "QS", "LOC", CededPercent=0.5, RiskLimit=20000, PlacedPercent=0.9)], [scope(1, **everything)])  # fmt: skip
    found["quota share of an account by policy"] = (
        [info(1, "QS", "POL", CededPercent=0.5, RiskLimit=30000)], [scope(1, PortNumber=1, AccNumber="A")])  # fmt: skip
    found["quota share of a line of business"] = (
        [info(1, "QS", "ACC", CededPercent=0.5, RiskLimit=60000)], [scope(1, PortNumber=1, LOB="L1")])  # fmt: skip
    found["quota share of a country"] = (
        [info(1, "QS", "ACC", CededPercent=0.5)], [scope(1, PortNumber=1, CountryCode="CA")])  # fmt: skip
    for level, fields in (
        ("LOC", {"AccNumber": "A", "LocNumber": 2}), ("ACC", {"AccNumber": "A"}),
        ("POL", {"AccNumber": "B", "PolNumber": "B1"}),
    ):  # fmt: skip
        found[f"facultative by {level}"] = (
            [info(1, "FAC", level, CededPercent=0.5, RiskLimit=15000, RiskAttachment=2000, PlacedPercent=0.7)],
            [scope(1, PortNumber=1, **fields)])  # fmt: skip
        found[f"surplus by {level}"] = (
            [info(1, "SS", level, RiskLimit=40000, OccLimit=50000, PlacedPercent=0.9)],
            [scope(1, PortNumber=1, **{**fields, "CededPercent": 0.35})])  # fmt: skip
    found["surplus, two risks"] = (
        [info(1, "SS", "LOC", PlacedPercent=0.95, OccLimit=60000)],
        [scope(1, PortNumber=1, AccNumber="A", LocNumber=2, CededPercent=0.1),
         scope(1, PortNumber=1, AccNumber="B", LocNumber=3, CededPercent=0.2)])  # fmt: skip
    for level in ("LOC", "POL", "ACC"):
        found[f"per risk by {level}"] = (
            [info(1, "PR", level, RiskLimit=50000, RiskAttachment=20000, OccLimit=90000, PlacedPercent=0.9)],
            [scope(1, **everything)])  # fmt: skip
    found["catastrophe excess"] = (
        [info(1, "CXL", "SEL", OccLimit=100000, OccAttachment=50000, PlacedPercent=0.85)], [scope(1, **everything)])  # fmt: skip
    found["catastrophe excess, ceded share"] = (
        [info(1, "CXL", "SEL", OccLimit=100000, OccAttachment=50000, CededPercent=0.6)], [scope(1, **everything)])  # fmt: skip
    found["two catastrophe layers"] = (
        [info(1, "CXL", "SEL", OccLimit=50000, OccAttachment=50000),
         info(2, "CXL", "SEL", OccLimit=100000, OccAttachment=100000, PlacedPercent=0.5)],
        [scope(1, **everything), scope(2, **everything)])  # fmt: skip
    found["by priority"] = (
        [info(1, "FAC", "LOC", 1, CededPercent=0.5, RiskLimit=30000),
         info(2, "SS", "LOC", 2, PlacedPercent=1),
         info(3, "QS", "SEL", 3, CededPercent=0.2, PlacedPercent=0.9),
         info(4, "PR", "LOC", 4, RiskLimit=30000, RiskAttachment=10000),
         info(5, "CXL", "SEL", 5, OccLimit=100000, OccAttachment=40000, PlacedPercent=0.9)],
        [scope(1, PortNumber=1, AccNumber="A", LocNumber=4),
         scope(2, PortNumber=1, AccNumber="B", LocNumber=4, CededPercent=0.4),
         scope(2, PortNumber=1, AccNumber="B", LocNumber=3, CededPercent=0.3),
         scope(3, **everything), scope(4, **everything), scope(5, **everything)])  # fmt: skip
    found["same priority, several levels"] = (
        [info(1, "FAC", "LOC", 1, CededPercent=0.5), info(2, "FAC", "LOC", 1, CededPercent=0.2, RiskLimit=5000),
         info(3, "QS", "LOC", 1, CededPercent=0.1), info(4, "QS", "ACC", 1, CededPercent=0.3, OccLimit=40000)],
        [scope(1, PortNumber=1, AccNumber="A", LocNumber=4), scope(2, PortNumber=1, AccNumber="A", LocNumber=4),
         scope(3, **everything), scope(4, PortNumber=1, AccNumber="A")])  # fmt: skip
    return found


def scaled(name: str, value: Any) -> Any:
    """Amounts a thousand times larger: the oracle rounds what it prints to hundredths."""
    money = any(part in name for part in ("TIV", "Ded", "Limit", "Attachment", "PayOut", "Trigger"))
    return value * 1000 if money and isinstance(value, (int, float)) and value >= 100 else value


def text(rows: list[Row]) -> str:
    """Rows as CSV, columns in the order in which they first appear."""
    rows = [{name: scaled(name, value) for name, value in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def ask(files: dict[str, str], ratios: tuple[float, ...] = RATIOS) -> list[list[Any]]:
    """[ratio, account, location, policy, layer, coverage, gul, il, ri] of each line, from oasislmf."""
    from oasislmf.manager import OasisManager

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / f"{file}.csv").write_text(content)
        out = folder / "out.csv"
        OasisManager().run_exposure(
            src_dir=str(folder), run_dir=str(folder / "run"), loss_factor=list(ratios), output_level="item",
            output_file=str(out), model_perils_covered=["WTC"], check_oed=False, print_summary=False,
            extra_summary_cols=["layer_id"], portfolio_complexity=False,
        )  # fmt: skip
        found: dict[tuple[Any, ...], list[float]] = {}
        with out.open(newline="") as file:
            for row in csv.DictReader(file):
                key = (
                    ratios[int(float(row.get("loss_factor_idx") or 0))], row["AccNumber"], row["LocNumber"],
                    row["PolNumber"], int(row["coverage_type_id"]),
                )  # fmt: skip
                losses = [float(row.get(name) or 0) for name in ("loss_gul", "loss_il", "loss_ri")]
                # lines of several buildings and layers of a policy add up
                found[key] = [a + b for a, b in zip(found.get(key, [0.0, 0.0, 0.0]), losses, strict=True)]
        return [[*key, *losses] for key, losses in found.items()]


def main() -> None:
    """Writes the files, or those that are named on the command line."""
    only = sys.argv[1:]
    for name, made in (("direct", direct()), ("steps", steps()), ("perils", perils())):
        if only and name not in only:
            continue
        files = dict(zip(("location", "account"), (text(rows) for rows in made), strict=True))
        (HERE / f"{name}.json").write_text(json.dumps({"files": files, "losses": ask(files)}, indent=0))
    if only and "reinsurance" not in only:
        return
    book = dict(zip(("location", "account"), (text(rows) for rows in _book()), strict=True))
    cases = {}
    for name, (info, scope) in reinsurance().items():
        files = {**book, "ri_info": text(info), "ri_scope": text(scope)}
        cases[name] = {"ri_info": files["ri_info"], "ri_scope": files["ri_scope"], "losses": ask(files)}
        print(name, file=sys.stderr)
    (HERE / "reinsurance.json").write_text(json.dumps({"files": book, "cases": cases}, indent=0))


if __name__ == "__main__":
    main()
