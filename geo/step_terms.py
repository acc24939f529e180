"""Step policies: a policy pays by the band that its loss falls in, a share of the value, of the loss, or an amount.

OED step fields of an account file: StepTriggerType says of which coverages the loss is looked at (1 buildings, 2
contents, 3 both together, 5 both apart), TriggerType and PayOutType in which measure. Arithmetic as OasisLMF's step
rules 27 to 32, 37 and 38 (oasislmf/pytools/fm/policy_extras.py, financial_structure.py), written anew; what that
table of rules does not know is refused here too. A policy of a share of the value can pay more than was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geo.oed_table import OedTable
from geo.terms import BoolArray, FloatArray, IntArray, Level, Terms, sums

AMOUNT, OF_LOSS, OF_TIV, OF_LIMIT = 0, 1, 2, 3

#: StepTriggerType -> (name in the fields, coverages looked at together); further ones but BI pay nothing
GROUPS: dict[int, tuple[tuple[str, tuple[int, ...]], ...]] = {
    1: (("Building", (0,)),),
    2: (("Contents", (2,)),),
    3: (("BuildingContents", (0, 2)),),
    5: (("Building", (0,)), ("Contents", (2,))),
}
_PARTS = ("Building", "Contents", "BuildingContents")
_OF_PART = ("Trigger{}Start", "Trigger{}End", "PayOut{}Start", "PayOut{}End", "PayOutLimit{}", "Deductible{}")
STEP_FIELDS = (
    "StepTriggerType", "StepNumber", "TriggerType", "PayOutType", "ExtraExpenseFactor", "ExtraExpenseLimit",
    "DebrisRemovalFactor", *(form.format(part) for part in _PARTS for form in _OF_PART),
)  # fmt: skip


@dataclass(frozen=True)
class Steps:
    """Steps of the nodes of a level, columns (n_steps,) in the order in which they are looked at.

    A step pays where start <= loss < end. Amounts in the book's currency, triggers too.
    """

    node: IntArray
    rank: IntArray  #: place among the steps of its node, from 0
    start: FloatArray
    end: FloatArray
    of_loss: BoolArray  #: pays `payout` x loss, else the amount `payout`
    payout: FloatArray
    payout_end: FloatArray  #: the payout at `ramp_end`; between it and `start` it rises or falls in a straight line
    ramp_end: FloatArray  #: infinite where there is no ramp
    deductible: FloatArray  #: taken from a payout
    limit: FloatArray  #: of a payout of loss; infinite where there is none
    extra_factor: FloatArray  #: further expenses as a share of the payout
    extra_limit: FloatArray
    debris_factor: FloatArray
    adds: BoolArray  #: adds to what earlier steps paid, else stands in its place
    on_top: BoolArray  #: has no payout of its own: only expenses on what earlier steps paid

    def paid(self, loss: FloatArray) -> FloatArray:
        """(n_nodes,) what the nodes pay from the loss that reaches them; a node without a step pays nothing."""
        out = np.zeros_like(loss)
        for rank in range(int(self.rank.max(initial=-1)) + 1):
            at = self.rank == rank
            node = self.node[at]
            x = loss[node]
            hit = (self.start[at] <= x) & (x < self.end[at]) & ((x > 0) | self.of_loss[at])
            before = out[node]
            start, ramp_end = self.start[at], self.ramp_end[at]
            ramped = np.isfinite(ramp_end)
            way = np.clip((x - start) / np.where(ramped, ramp_end - start, 1.0), 0.0, 1.0)
            payout = self.payout[at] + np.where(ramped, (self.payout_end[at] - self.payout[at]) * way, 0.0)
            own = np.minimum(
                np.maximum(payout * np.where(self.of_loss[at], x, 1.0) - self.deductible[at], 0.0),
                self.limit[at],
            )
            base = np.where(self.on_top[at], before, own)
            whole = (base + np.minimum(base * self.extra_factor[at], self.extra_limit[at])) * (
                1.0 + self.debris_factor[at]
            )
            out[node] = np.where(hit, np.where(self.adds[at], before + whole, whole), before)
        return out


def read_steps(table: OedTable, answers: BoolArray, blanket: BoolArray) -> IntArray | None:
    """(rows,) StepTriggerType of the rows that carry a step, 0 elsewhere; None where the file has none.

    `answers`: rows whose PolPeril names the event's peril; `blanket`: rows with terms at policy all, which cannot stand
    beside steps. Faults become bad rows of the table.
    """
    if not (table.has("StepNumber") and table.numbers("StepNumber").any()):
        return None
    number = table.whole("StepNumber")
    kind = table.whole("StepTriggerType")
    # a step number alone, with nothing that triggers or pays, is no step
    named = np.zeros(table.n, dtype=bool)
    for name in STEP_FIELDS:
        if name != "StepNumber" and table.has(name):
            named |= table.numbers(name) != 0
    stepped = (number > 0) & named
    trigger, payout = table.whole("TriggerType"), table.whole("PayOutType")
    extra = table.numbers("ExtraExpenseLimit")
    for row in np.flatnonzero(stepped).tolist():
        if kind[row] not in GROUPS:
            table.refuse(row, "StepTriggerType", f"{kind[row]} is none of {', '.join(map(str, GROUPS))}")
            continue
        if blanket[row]:
            table.refuse(row, "StepNumber", "steps cannot stand beside a deductible or limit at policy all (6All)")
        measures = (int(trigger[row]), int(payout[row]))
        if measures not in ((2, 0), (2, 1), (2, 2), (2, 3), (0, 1)):
            table.refuse(
                row, "PayOutType",
                f"TriggerType {measures[0]} with PayOutType {measures[1]} is not computed here: 2 (share of the value) "
                "with 0, 1, 2 or 3, or 0 (amount) with 1",
            )  # fmt: skip
            continue
        for part, _ in GROUPS[int(kind[row])]:
            _check(table, row, part, measures, float(extra[row]))
    found: IntArray = np.where(stepped & answers & np.isin(kind, list(GROUPS)), kind, 0)
    return found


def _check(table: OedTable, row: int, part: str, measures: tuple[int, int], extra: float) -> None:
    """Combinations that the oracle's table of rules does not know."""
    start, end, _, ramp, limit, deductible = (table.numbers(form.format(part))[row] for form in _OF_PART)
    if ramp > 0 and not end > start:
        table.refuse(row, f"Trigger{part}End", f"{end:g} is not more than the start {start:g}, and a ramp needs both")
    if measures[0] == 2 and end <= start:
        table.refuse(row, f"Trigger{part}End", f"{end:g} is not more than the start {start:g}")
    if deductible > 0 and measures != (2, 1):
        table.refuse(row, f"Deductible{part}", "stands only beside a payout of the loss by bands of the value")
    if measures in ((2, 3), (0, 1)) and limit == 0:
        table.refuse(row, f"PayOutLimit{part}", f"it is empty, and PayOutType {measures[1]} needs it here")
    if measures == (2, 0) and limit > 0:
        table.refuse(row, f"PayOutLimit{part}", "stands only beside a payout of the loss, the value or the limit")
    if extra > 0 and (measures in ((2, 0), (2, 3)) or (measures == (2, 2) and limit == 0)):
        table.refuse(row, "ExtraExpenseLimit", "is not computed here beside such a payout")


def step_level(
    table: OedTable, kind_of_row: IntArray, policy_of_row: IntArray, rate: FloatArray, policy: IntArray,
    coverage: IntArray, tiv: FloatArray,
) -> Level | None:  # fmt: skip
    """The level of steps over rows (item and policy), or None.

    kind_of_row, policy_of_row, rate (rows of the file,) : StepTriggerType or 0, policy, factor to the book's currency
    policy, coverage, tiv (n_rows,) : of each item and policy
    """
    carriers = np.flatnonzero((kind_of_row > 0) & (policy_of_row >= 0))
    if not len(carriers):
        return None
    kind_of_policy: dict[int, int] = {}
    for row in carriers.tolist():
        owner, kind = int(policy_of_row[row]), int(kind_of_row[row])
        if kind_of_policy.setdefault(owner, kind) != kind:
            table.refuse(row, "StepTriggerType", "the policy has another one on another line")
    table.check()
    # nodes: for each stepped policy three: looked at first, looked at second, pays nothing
    owners = sorted(kind_of_policy)
    number = {owner: i for i, owner in enumerate(owners)}
    place = np.full(int(max(policy.max(initial=0), max(owners))) + 1, -1, dtype=np.int64)
    place[owners] = np.arange(len(owners))
    part_of = np.full((len(owners), 4), 2, dtype=np.int64)
    for owner, kind in kind_of_policy.items():
        for i, (_, coverages) in enumerate(GROUPS[kind]):
            part_of[number[owner], list(coverages)] = i
    at = place[policy]
    node = np.where((at >= 0) & (coverage != 3), at * 3 + part_of[np.maximum(at, 0), coverage], -1)
    rows = np.flatnonzero(node >= 0)
    value = sums(node[rows], tiv[rows], 3 * len(owners))
    steps = _steps(table, carriers, kind_of_row, policy_of_row, rate, number, value)
    counts = np.bincount(node[rows], minlength=len(value)).astype(np.int64)
    return Level(
        name="policy steps", rows=rows, node=node[rows], terms=Terms.none(len(value)), by_layer=True,
        n_rows_of_node=counts, steps=steps,
    )  # fmt: skip


def _steps(
    table: OedTable, carriers: IntArray, kind_of_row: IntArray, policy_of_row: IntArray, rate: FloatArray,
    number: dict[int, int], value: FloatArray,
) -> Steps:  # fmt: skip
    trigger, payout_type = table.whole("TriggerType"), table.whole("PayOutType")
    step_number = table.whole("StepNumber")
    common = {name: table.numbers(name) for name in ("ExtraExpenseFactor", "ExtraExpenseLimit", "DebrisRemovalFactor")}
    columns = {part: [table.numbers(form.format(part)) for form in _OF_PART] for part in _PARTS}
    seen: set[tuple[int, int]] = set()
    made: list[tuple[int, int, Sequence[float]]] = []
    for row in carriers.tolist():
        for i, (part, _) in enumerate(GROUPS[int(kind_of_row[row])]):
            node = 3 * number[int(policy_of_row[row])] + i
            key = (node, int(step_number[row]))
            if key in seen:  # the policy stands on several lines for its conditions
                continue
            seen.add(key)
            start, end, payout, ramp, limit, deductible = (float(column[row]) for column in columns[part])
            worth, money, pays = float(value[node]), float(rate[row]), int(payout_type[row])
            of_tiv = trigger[row] == OF_TIV
            start *= worth if of_tiv else money
            ramp_end = (end * worth if of_tiv else end * money) if ramp > 0 else np.inf
            # where triggers are amounts the oracle looks at the start alone, and adds the steps up
            end = end * worth if of_tiv and end != 1 else np.inf
            limit, deductible = limit * money, deductible * money
            on_top = pays == OF_LOSS and payout == 0 and ramp == 0 and bool(of_tiv)
            unit = {OF_TIV: worth, OF_LIMIT: limit, AMOUNT: money}.get(pays, 1.0)
            payout, ramp = payout * unit, ramp * unit
            capped = limit if limit > 0 and pays in (OF_LOSS, OF_TIV) else np.inf
            extra_factor, extra_limit, debris_factor = (float(common[name][row]) for name in common)
            made.append((node, int(step_number[row]), (
                start, end, pays == OF_LOSS, payout, ramp, ramp_end, deductible, capped, extra_factor,
                extra_limit * money, debris_factor, pays != OF_LOSS or not of_tiv, on_top,
            )))  # fmt: skip
    made.sort(key=lambda step: (step[0], step[1]))
    nodes = np.array([node for node, _, _ in made], dtype=np.int64)
    first = np.searchsorted(nodes, nodes)
    c = [np.array([values[k] for _, _, values in made], dtype=float) for k in range(13)]
    return Steps(
        node=nodes, rank=np.arange(len(nodes)) - first, start=c[0], end=c[1], of_loss=c[2] > 0, payout=c[3],
        payout_end=c[4], ramp_end=c[5], deductible=c[6], limit=c[7], extra_factor=c[8], extra_limit=c[9],
        debris_factor=c[10], adds=c[11] > 0, on_top=c[12] > 0,
    )  # fmt: skip
