"""Policies of an account file: which there are, who answers, and the levels of terms above the site."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from geo.oed_table import OedTable, encode, joint
from geo.step_terms import STEP_FIELDS, read_steps, step_level
from geo.terms import BoolArray, FloatArray, IntArray, Level, Terms, stack, sums, with_columns
from geo.terms_rows import (
    COVERAGES,
    DAYS_OF_YEAR,
    SUFFIXES,
    TERMS,
    Raw,
    UnclearTerms,
    covered,
    days_of,
    read_raw,
    refuse_where,
    silenced,
)

ACCOUNT_FIELDS = (
    "PortNumber", "AccNumber", "PolNumber", "LayerNumber", "AccCurrency", "PolPerilsCovered", "PolPeril", "CondPeril",
    "AccPeril", "PolInceptionDate", "PolExpiryDate", "CondTag", "CondNumber", "CondPriority", "CondClass",
    "LayerParticipation", "LayerLimit", "LayerAttachment", "AccParticipation", "BIWaitingPeriod", "BIPOI",
    "CedantName",
    "ProducerName", "LOB", *(f"Acc{term}6All" for term in TERMS),
    *(f"{level}{term}{suffix}" for level in ("Pol", "Cond") for term in TERMS for suffix in SUFFIXES),
    *STEP_FIELDS,
)  # fmt: skip


@dataclass
class Policies:
    """Policies (account, PolNumber, LayerNumber), sorted by account, with their terms."""

    table: OedTable
    row: IntArray  #: (n,) row of the account file that carries the policy's terms
    account: IntArray
    start: IntArray  #: (n_accounts,) first policy of an account
    count: IntArray  #: (n_accounts,)
    of_row: IntArray  #: (rows of the account file,) its policy, -1 where it was folded into another
    account_of_row: IntArray
    account_row: IntArray  #: (n_accounts,) row with the account's own terms, -1
    answers: BoolArray  #: (n,) whether it covers the peril on the day
    silent: dict[str, int]
    raw: dict[str, dict[str, Raw]]
    rate: FloatArray
    cond_answers: BoolArray
    step_kind: IntArray | None  #: (rows of the account file,) StepTriggerType of a row that carries a step, else 0
    layer_terms: FloatArray  #: (rows of the account file, 3) attachment, limit (0: none), participation
    assumed: dict[str, int]  #: what was taken for granted -> rows

    @classmethod
    def read(
        cls,
        table: OedTable,
        account: IntArray,
        rate: FloatArray,
        n_accounts: int,
        peril: str | None,
        event_date: date | None,
    ) -> "Policies":
        period, wait = table.numbers("BIPOI"), table.numbers("BIWaitingPeriod")
        refuse_where(
            table, wait > 0, "BIWaitingPeriod", wait, "stands at the policy, and is computed at a location only"
        )
        refuse_where(table, (period > 0) & (period != DAYS_OF_YEAR), "BIPOI", period,
                     "stands at the policy, and is computed at a location only")  # fmt: skip
        (pol, layer), _ = encode(table.texts("PolNumber"), table.texts("LayerNumber", "1"))
        (key,), n_keys = joint((account, pol, layer))
        pol_answers = covered(table, "PolPeril", peril)
        raw = {
            level: {
                suffix: found
                for suffix in (SUFFIXES if level != "Acc" else ("6All",))
                if (found := read_raw(table, level, suffix, rate)) is not None
            }
            for level in ("Cond", "Pol", "Acc")
        }
        raw["Pol"] = {suffix: silenced(found, pol_answers) for suffix, found in raw["Pol"].items()}
        blanket = raw["Pol"].get("6All")
        busy = np.zeros(table.n, dtype=bool) if blanket is None else blanket.busy
        step_kind = read_steps(table, pol_answers, busy)
        acc_answers = covered(table, "AccPeril", peril)
        raw["Acc"] = {suffix: silenced(found, acc_answers) for suffix, found in raw["Acc"].items()}

        rows = np.arange(table.n)
        # among the rows of a policy, one whose PolPeril names the peril carries the terms
        best = np.full(n_keys, 2 * table.n, dtype=np.int64)
        np.minimum.at(best, key, rows + np.where(pol_answers, 0, table.n))
        chosen = best % table.n
        _agree(table, key, chosen, pol_answers, raw["Pol"], "PolPeril", peril)
        layer_terms = np.stack(
            [table.numbers("LayerAttachment"), table.numbers("LayerLimit"),
             table.numbers("LayerParticipation", 1.0, high=1.0)], axis=1,
        )  # fmt: skip
        # files that fill every field write 0 where a policy has no layer
        no_layer = (layer_terms == 0.0).all(axis=1)
        layer_terms[no_layer, 2] = 1.0
        assumed = {"LayerParticipation is 0 beside no attachment and no limit: taken as not given": int(no_layer.sum())}
        for row in np.flatnonzero((layer_terms != layer_terms[chosen[key]]).any(axis=1)).tolist():
            table.refuse(row, "LayerNumber", "the layer has other terms on another line")
        table.numbers("AccParticipation", 1.0, high=1.0)

        sort = np.lexsort((chosen, account[chosen]))
        number = np.empty(n_keys, dtype=np.int64)
        number[sort] = np.arange(n_keys)
        carrier: IntArray = chosen[sort]
        answers, silent = in_force(table, carrier, peril, event_date)
        of_row = number[key]
        acc_row = np.full(n_accounts, table.n * 2, dtype=np.int64)
        np.minimum.at(acc_row, account, rows + np.where(acc_answers, 0, table.n))
        _agree(table, account, np.minimum(acc_row, table.n * 2 - 1) % table.n, acc_answers, raw["Acc"], "AccPeril",
               peril)  # fmt: skip
        made = cls(
            table, carrier, account[carrier], np.zeros(n_accounts, np.int64), np.zeros(n_accounts, np.int64), of_row,
            account,
            np.where(acc_row < 2 * table.n, acc_row % table.n, -1), answers, silent, raw, rate,
            covered(table, "CondPeril", peril), step_kind, layer_terms, {k: n for k, n in assumed.items() if n},
        )  # fmt: skip
        made._fold()
        made.count = np.bincount(made.account, minlength=n_accounts).astype(np.int64)
        made.start = np.cumsum(made.count) - made.count
        return made

    def _fold(self) -> None:
        """Several policies of an account with the same terms and no layer are one: they are not paid twice."""
        n = len(self.row)
        if n < 2 or not (self.account[1:] == self.account[:-1]).any():
            return
        ids = self.account
        layered = np.zeros(int(ids.max()) + 1, dtype=bool)
        busy = (self.layer_terms[self.row] != np.array([0.0, 0.0, 1.0])).any(axis=1)
        layered[ids[busy]] = True
        if self.step_kind is not None:
            stepped = self.of_row[self.step_kind > 0]
            layered[ids[stepped[stepped >= 0]]] = True
        columns = [c[self.row] for raw in self.raw["Pol"].values() for c in raw.columns()]
        columns.append(self.answers.astype(np.float64))
        first = np.searchsorted(ids, ids)
        same = np.ones(n, dtype=bool)
        for column in columns:
            same &= column == column[first]
        differs = np.zeros_like(layered)
        differs[ids[~same]] = True
        if self.raw["Cond"]:
            differs[:] = True
        drop = (np.arange(n) != first) & ~layered[ids] & ~differs[ids]
        if not drop.any():
            return
        number = np.cumsum(~drop) - 1
        number = np.where(drop, -1, number)
        self.of_row = number[self.of_row]
        self.silent["policies without layers or terms of their own beside an equal one"] = int(drop.sum())
        self.row, self.account, self.answers = self.row[~drop], self.account[~drop], self.answers[~drop]

    def levels(
        self,
        policy: IntArray,
        coverage: IntArray,
        tiv: FloatArray,
        place: IntArray,
        tags: list[tuple[int, int]],
        location: OedTable,
        paid: BoolArray,
    ) -> list[Level]:
        """The levels above the site, in order, over rows (item and policy). Clears `paid` where a policy excludes."""
        levels: list[Level | None] = []
        if self.raw["Cond"] or self.table.has("CondTag"):
            levels += self._conditions(policy, coverage, tiv, place, tags, location, paid)
        levels += self._group("Pol", "policy", policy, len(self.row), self.row, coverage, tiv)
        if self.step_kind is not None:
            levels.append(step_level(self.table, self.step_kind, self.of_row, self.rate, policy, coverage, tiv))
        attachment, limit, share = self.layer_terms[self.row].T
        attachment, limit = attachment * self.rate[self.row], limit * self.rate[self.row]
        terms = with_columns(
            Terms.none(len(self.row)),
            deductible=attachment,
            limit=np.where(limit > 0, limit, np.inf),
            share=share,
        )
        levels.append(Level.make("layer", policy, terms, by_layer=True))
        account = self.account[policy]
        n = len(self.account_row)
        share = self.table.numbers("AccParticipation", 1.0)[np.maximum(self.account_row, 0)]
        if "6All" in self.raw["Acc"] or (share != 1).any():
            value = sums(account, tiv * (policy == self.start[account]), n)
            raw = self.raw["Acc"].get("6All")
            row = np.maximum(self.account_row, 0)
            terms = raw.resolve(value, row) if raw is not None else Terms.none(n)
            levels.append(Level.make("account", account, with_columns(terms, share=share)))
        return [level for level in levels if level is not None]

    def _group(
        self,
        level: str,
        name: str,
        node: IntArray,
        n: int,
        row: IntArray,
        coverage: IntArray,
        tiv: FloatArray,
    ) -> list[Level | None]:
        """The three levels coverage, PD, all of conditions or policies; node -1 takes no part."""
        raws = self.raw[level]
        found: list[Level | None] = []
        inside = node >= 0
        if any(suffix in raws for suffix in COVERAGES):
            parts: list[Terms] = []
            at = np.full(len(node), -1, dtype=np.int64)
            for number, suffix in enumerate(COVERAGES):
                if suffix in raws:
                    mine = inside & (coverage == number)
                    at[mine] = node[mine] + n * len(parts)
                    value = sums(node[mine], tiv[mine], n)
                    parts.append(raws[suffix].resolve(value, row))
            found.append(Level.make(f"{name} coverage", at, stack(parts)))
        for suffix, highest in (("5PD", 3), ("6All", 4)):
            if suffix in raws:
                mine = inside & (coverage < highest)
                value = sums(node[mine], tiv[mine], n)
                label = f"{name} {'PD' if suffix == '5PD' else 'all'}"
                found.append(Level.make(label, np.where(mine, node, -1), raws[suffix].resolve(value, row)))
        return found

    def _conditions(
        self,
        policy: IntArray,
        coverage: IntArray,
        tiv: FloatArray,
        place: IntArray,
        tags: list[tuple[int, int]],
        location: OedTable,
        paid: BoolArray,
    ) -> list[Level | None]:
        """Special conditions, innermost first: by CondPriority, each over the tagged locations of one policy."""
        (loc_tag, acc_tag), texts = encode(location.texts("CondTag", "0"), self.table.texts("CondTag", "0"))
        none = texts.index("0") if "0" in texts else -1
        of_account = self.account_of_row
        priority = self.table.numbers("CondPriority", 1.0)
        rank: dict[tuple[int, int], float] = {}
        row_of: dict[tuple[int, int], int] = {}
        closed: set[int] = set()
        cond_class = self.table.whole("CondClass")
        for row in range(self.table.n):
            tag, owner = int(acc_tag[row]), int(self.of_row[row])
            key = (int(of_account[row]), tag)
            rank.setdefault(key, priority[row] or 1.0)
            if owner >= 0 and (owner, tag) not in row_of:
                row_of[(owner, tag)] = row
            if cond_class[row] == 1 and owner >= 0:
                closed.add(owner)
        chains: dict[int, list[tuple[int, int]]] = {}
        owner_of = {}
        account_of_place = dict(zip(place.tolist(), self.account[policy].tolist(), strict=True))
        for home, row in tags:
            if home not in account_of_place:
                continue
            key = (account_of_place[home], int(loc_tag[row]))
            if key not in rank:
                location.refuse(row, "CondTag", f"{texts[key[1]]!r} is no condition of this account")
                continue
            if key not in chains.setdefault(home, []):
                chains[home].append(key)
            owner_of[home] = key[0]
        location.check()
        depth: dict[tuple[int, int], int] = {}
        for home, keys in chains.items():
            keys.sort(key=lambda k: rank[k])
            if len({rank[k] for k in keys}) < len(keys):
                raise UnclearTerms(
                    f"location {location.texts('LocNumber')[home].as_py()!r}: two special conditions have the same "
                    "CondPriority"
                )
        moved = True
        while moved:
            moved = False
            for keys in chains.values():
                level = 0
                for key in keys:
                    level = max(level + 1, depth.get(key, 0))
                    if depth.get(key, 0) != level:
                        depth[key], moved = level, True
        if closed:
            self._close(policy, place, chains, none, closed, row_of, paid)
        found: list[Level | None] = []
        for stage in range(1, max(depth.values(), default=0) + 1):
            tag_of_place = {home: key[1] for home, keys in chains.items() for key in keys if depth[key] == stage}
            lookup = np.full(location.n, -1, dtype=np.int64)
            for home, tag in tag_of_place.items():
                lookup[home] = tag
            tag_of: IntArray = lookup[place]
            node = np.full(len(policy), -1, dtype=np.int64)
            for i in np.flatnonzero(tag_of >= 0).tolist():
                row = row_of.get((int(policy[i]), int(tag_of[i])), -1)
                node[i] = row if row >= 0 and self.cond_answers[row] else -1
            found += self._group(
                "Cond", f"condition {stage}", node, self.table.n, np.arange(self.table.n), coverage, tiv
            )
        return found

    @staticmethod
    def _close(
        policy: IntArray,
        place: IntArray,
        chains: Mapping[int, list[tuple[int, int]]],
        none: int,
        closed: set[int],
        row_of: Mapping[tuple[int, int], int],
        paid: BoolArray,
    ) -> None:
        """A policy with a restricting condition (CondClass 1) covers only locations of the tags that it names."""
        for i in np.flatnonzero(np.isin(policy, np.array(sorted(closed)))).tolist():
            mine = [key[1] for key in chains.get(int(place[i]), [])] or [none]
            if any((int(policy[i]), tag) not in row_of for tag in mine):
                paid[i] = False


def _agree(
    table: OedTable,
    key: IntArray,
    chosen: IntArray,
    answers: BoolArray,
    raws: Mapping[str, Raw],
    name: str,
    peril: str | None,
) -> None:
    """Raises UnclearTerms where rows of one policy carry other terms for the same peril."""
    for suffix, raw in raws.items():
        for column in raw.columns():
            wrong = answers & (column != column[chosen[key]])
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                hint = f"name the event's peril with --peril, since terms differ by {name}" if peril is None else (
                    f"they differ for the same {name}"
                )  # fmt: skip
                raise UnclearTerms(
                    f"{table.path.name}: account {table.texts('AccNumber')[row].as_py()!r} has several rows with other "
                    f"terms at {suffix}: {hint}"
                )


def in_force(
    table: OedTable, row: IntArray, peril: str | None, event_date: date | None
) -> tuple[BoolArray, dict[str, int]]:
    """Which policies answer, and how many do not for which reason."""
    silent: dict[str, int] = {}
    answers: BoolArray = covered(table, "PolPerilsCovered", peril)[row]
    if not answers.all():
        silent[f"policies whose PolPerilsCovered does not name {peril}"] = int((~answers).sum())
    inception, expiry = days_of(table, "PolInceptionDate"), days_of(table, "PolExpiryDate")
    for index, (begins, ends) in enumerate(zip(inception, expiry, strict=True)):
        if begins and ends and ends < begins:
            table.refuse(index, "PolExpiryDate", f"{ends} is before the inception {begins}")
    if event_date is not None:
        outside = np.array(
            [
                ((begins := inception[r]) is not None and event_date < begins)
                or ((ends := expiry[r]) is not None and event_date > ends)
                for r in row.tolist()
            ],
            dtype=bool,
        )
        if outside.any():
            silent[f"policies not in force on {event_date}"] = int((outside & answers).sum())
            answers = answers & ~outside
    return answers, silent
