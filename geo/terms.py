"""Policy terms as arrays: deductible, limit, attachment and share at each level, and the loss back on its items.

A programme is a list of levels. Each level groups the rows (one for an item and a policy layer) into nodes, adds their
losses, applies the node's terms to the sum, and allocates what remains to the rows in proportion to what they brought
(OED allocation rule 2). Minimum and maximum deductibles look at the deductible that lower levels have already taken,
so that three sums travel upward with the loss: deductible taken, loss above limits, room left under limits.
Annual aggregates (OED codes 1) hold for the sum of a year's events in their order: `Used` is what a node has seen.

Order of terms and their combination: Open Exposure Data 5, financial terms; arithmetic as the Oasis Loss Modelling
Framework's financial module does it (github OasisLMF/OasisLMF, oasislmf/pytools/fm), against which tests/golden
compares. What that module leaves open or does unexpectedly is told in docs/methods/terms.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: How a deductible acts (OED deductible code): it is taken off each event; off the year's sum (annual aggregate);
#: the loss is paid in full above it (franchise); it is taken off and does not count towards a maximum (non-ranking);
#: nothing is paid above it (reverse franchise).
REGULAR, ANNUAL, FRANCHISE, NON_RANKING, REVERSE_FRANCHISE = 0, 1, 2, 3, 99


class BadTerms(InvalidInput):
    """These terms cannot be applied."""


@dataclass(frozen=True)
class Terms:
    """Terms of the nodes of one level, columns of equal length (n_nodes,). Amounts in the book's currency.

    A share of the loss is a fraction of the loss that reaches the node. `limit` is infinite where there is none,
    `max_deductible` likewise; `min_deductible` is zero where there is none.
    """

    deductible: FloatArray
    deductible_of_loss: BoolArray
    deductible_code: npt.NDArray[np.int8]
    min_deductible: FloatArray
    max_deductible: FloatArray
    limit: FloatArray
    limit_of_loss: BoolArray
    limit_annual: BoolArray  #: the limit holds for the sum of a year (OED limit code 1)
    share: FloatArray

    @classmethod
    def none(cls, n: int) -> "Terms":
        """Terms that change nothing."""
        return cls(
            deductible=np.zeros(n),
            deductible_of_loss=np.zeros(n, dtype=bool),
            deductible_code=np.zeros(n, dtype=np.int8),
            min_deductible=np.zeros(n),
            max_deductible=np.full(n, np.inf),
            limit=np.full(n, np.inf),
            limit_of_loss=np.zeros(n, dtype=bool),
            limit_annual=np.zeros(n, dtype=bool),
            share=np.ones(n),
        )

    def __len__(self) -> int:
        return len(self.deductible)

    def take(self, index: IntArray | BoolArray) -> "Terms":
        """The terms of some nodes."""
        return Terms(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})

    @property
    def idle(self) -> BoolArray:
        """(n,) True where the terms change nothing."""
        found: BoolArray = (
            (self.deductible == 0)
            & (self.min_deductible == 0)
            & np.isinf(self.max_deductible)
            & np.isinf(self.limit)
            & (self.share == 1)
        )
        return found

    @property
    def annual(self) -> BoolArray:
        """(n,) whether a node has a deductible or limit of the year's sum."""
        found: BoolArray = (self.deductible_code == ANNUAL) | (self.limit_annual & np.isfinite(self.limit))
        return found

    @property
    def bounded(self) -> bool:
        """Whether any node has a minimum or maximum deductible."""
        return bool((self.min_deductible > 0).any() or np.isfinite(self.max_deductible).any())


@dataclass
class Used:
    """What the nodes of a level have seen of a year so far; columns (n_nodes,)."""

    loss: FloatArray  #: losses that reached the node
    after: FloatArray  #: of them after the deductible
    paid: FloatArray  #: of them within the limit

    @classmethod
    def none(cls, n: int) -> "Used":
        """A year that has just begun."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n))

    def now(self, terms: Terms) -> Terms:
        """The terms as the next event of the year meets them: what is left of annual amounts."""
        annual = (terms.deductible_code == ANNUAL) & ~terms.deductible_of_loss
        deductible = np.where(annual, np.maximum(terms.deductible - self.loss, 0.0), terms.deductible)
        of_year = terms.limit_annual & ~terms.limit_of_loss
        limit = np.where(of_year, np.maximum(terms.limit - self.paid, 0.0), terms.limit)
        return replace(terms, deductible=deductible, limit=limit)

    def add(self, loss: FloatArray, after: FloatArray, paid: FloatArray) -> None:
        """Counts an event: what reached the nodes, what was left after deductibles, and what stayed within limits."""
        self.loss += loss
        self.after += after
        self.paid += paid


class PaidBySteps(Protocol):
    """What nodes pay by bands of their loss (geo.step_terms)."""

    def paid(self, loss: FloatArray) -> FloatArray: ...


@dataclass(frozen=True)
class Level:
    """One level: which rows meet in which node, and the nodes' terms. Rows that are not named pass through."""

    name: str
    rows: IntArray  #: (m,) rows that take part, ascending
    node: IntArray  #: (m,) the node of each
    terms: Terms  #: (n_nodes,)
    by_layer: bool = False  #: attachment terms: nothing of them counts as a deductible higher up
    alone: bool = field(default=False)  #: every node has one row
    in_order: bool = field(default=False)  #: alone, and node i is that of row i
    n_rows_of_node: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    plain: bool = field(default=False)  #: flat deductible and limit only, the fast way
    steps: PaidBySteps | None = None  #: in place of the terms

    @classmethod
    def make(cls, name: str, node: IntArray, terms: Terms, *, by_layer: bool = False) -> "Level | None":
        """A level from a node per row (-1: none) or None where it changes nothing; idle nodes are left out."""
        busy = ~terms.idle
        keep = (node >= 0) & busy[node]
        if not keep.any():
            return None
        rows = np.flatnonzero(keep)
        number = np.full(len(terms), -1, dtype=np.int64)
        number[np.unique(node[rows])] = 1
        number[number > 0] = np.arange(int((number > 0).sum()))
        kept = number[node[rows]]
        shown = terms.take(number >= 0)
        counts = np.bincount(kept, minlength=len(shown)).astype(np.int64)
        return cls(
            name=name,
            rows=rows,
            node=kept,
            terms=shown,
            by_layer=by_layer,
            alone=bool((counts == 1).all()),
            in_order=bool((kept == np.arange(len(shown))).all()) if len(kept) == len(shown) else False,
            n_rows_of_node=counts,
            plain=not (
                shown.deductible_of_loss.any()
                or shown.limit_of_loss.any()
                or ~np.isin(shown.deductible_code, (REGULAR, ANNUAL, NON_RANKING)).all()
                or shown.bounded
            ),
        )


def _ordinary(loss: FloatArray, t: Terms) -> tuple[FloatArray, FloatArray]:
    """(deductible asked for, loss after it) where no minimum or maximum speaks."""
    asked = np.where(t.deductible_of_loss, loss * t.deductible, t.deductible)
    left = np.maximum(loss - asked, 0.0)
    if (t.deductible_code != REGULAR).any():
        left = np.where(t.deductible_code == FRANCHISE, np.where(loss <= asked, 0.0, loss), left)
        left = np.where(t.deductible_code == REVERSE_FRANCHISE, np.where(loss > asked, 0.0, loss), left)
    return asked, left


def node_loss(loss: FloatArray, level: Level, used: Used | None = None) -> FloatArray:
    """(n_nodes,) insured loss of nodes from the loss that reaches them, where no level has a minimum or maximum.

    With `used` the event stands in a year: what earlier events left of annual aggregates holds, and this one is
    counted. An annual aggregate limit that is a share of the loss is that share of the year's sum so far, so that a
    later event can pay what an earlier one could not.
    """
    t = level.terms
    if level.steps is not None:
        return level.steps.paid(loss)
    if used is None and level.plain:
        out = loss - t.deductible
        np.maximum(out, 0.0, out=out)
        np.minimum(out, t.limit, out=out)
        out *= t.share
        return out
    before, t = t, t if used is None else used.now(t)
    _, left = _ordinary(loss, t)
    cap = np.where(t.limit_of_loss, loss * np.where(t.limit_of_loss, t.limit, 0.0), t.limit)
    if used is None:
        capped: FloatArray = np.minimum(left, cap) * t.share
        return capped
    of_sum = before.limit_annual & before.limit_of_loss
    sum_cap = (used.loss + loss) * np.where(of_sum, before.limit, 0.0) - used.paid
    paid = np.where(of_sum, np.minimum(used.after + left - used.paid, sum_cap), np.minimum(left, cap))
    paid = np.maximum(paid, 0.0)
    used.add(loss, left, paid)
    found: FloatArray = paid * t.share
    return found


@dataclass
class Extras:
    """What lower levels took: the three sums that minimum and maximum deductibles look at, by row or by node."""

    deductible: FloatArray
    over: FloatArray  #: loss above limits
    under: FloatArray  #: what could still be added before a limit is met


def node_loss_bounded(loss: FloatArray, e: Extras, level: Level, used: Used | None = None) -> tuple[FloatArray, Extras]:
    """(n_nodes,) insured loss and extras after the terms, minimum and maximum deductibles included.

    The maximum gives loss back up to the room under the limits; the minimum is taken from the loss above the limits
    first, then from the loss. Where both are crossed the maximum is looked at first.
    """
    t = level.terms if used is None else used.now(level.terms)
    if level.by_layer:
        return node_loss(loss, level, used), e
    asked, left = _ordinary(loss, t)
    taken = np.where(t.deductible_code == REVERSE_FRANCHISE, 0.0, np.minimum(asked, loss))
    taken = np.where((t.deductible_code == FRANCHISE) & (loss > asked), 0.0, taken)
    ded, over = e.deductible + taken, e.over.copy()
    under = e.under + taken
    out = left

    too_much = asked + e.deductible > t.max_deductible
    too_little = ~too_much & (asked + e.deductible < t.min_deductible)
    if too_much.any():
        delta = e.deductible - t.max_deductible
        give_all = too_much & (delta > e.under)
        give = too_much & ~give_all & (loss >= -delta)
        nothing = too_much & ~give_all & ~give
        out = np.select([give_all, give, nothing], [loss + e.under, loss + delta, 0.0], out)
        over = np.where(give_all, e.over + delta - e.under, over)
        ded = np.select([give_all | give, nothing], [t.max_deductible, e.deductible + loss], ded)
        under = np.select([give_all, give, nothing], [0.0, e.under - delta, e.under + loss], under)
    if too_little.any():
        delta = t.min_deductible - asked - e.deductible
        from_over = delta <= e.over
        rest = delta - e.over
        # names: c* from the loss above limits, d* from the loss itself
        c1 = too_little & from_over & (loss > asked)
        c2 = too_little & from_over & ~c1 & (e.over - delta + loss > asked)
        c3 = too_little & from_over & ~c1 & ~c2
        d1 = too_little & ~from_over & (loss > rest + asked)
        d2 = too_little & ~from_over & ~d1
        out = np.select([c1, c2 | c3 | d2, d1], [loss, 0.0, loss - rest - asked], out)
        over = np.select([c1, c2, c3 | d1 | d2], [e.over - delta, e.over - delta - asked, 0.0], over)
        ded = np.select([c1 | c2 | d1, c3 | d2], [t.min_deductible, e.deductible + loss + e.over], ded)
        under = np.select([c1, c2 | c3 | d2, d1], [e.under, e.under + loss, e.under + rest], under)

    limited = np.isfinite(t.limit)
    if limited.any():
        cap = np.where(t.limit_of_loss, loss * np.where(limited, t.limit, 0.0), t.limit)
        above = limited & (out > cap)
        over = np.where(above, over + out - cap, over)
        under = np.where(above, 0.0, np.where(limited, np.minimum(np.where(limited, cap, 0.0) - out, under), under))
        out = np.where(above, cap, out)
    if used is not None:
        used.add(loss, left, out)
    return out * t.share, Extras(ded, over, under)


def sums(node: IntArray, values: FloatArray, n: int) -> FloatArray:
    """(n,) sum of the values of each node."""
    found: FloatArray = np.bincount(node, weights=values, minlength=n).astype(np.float64, copy=False)
    return found


def _sums(level: Level, values: FloatArray) -> FloatArray:
    if level.alone:
        found = np.empty(len(level.terms))
        found[level.node] = values
        return found
    return sums(level.node, values, len(level.terms))


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """top / bottom, and zero where bottom is zero."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def apply_level(level: Level, loss: FloatArray, used: Used | None = None) -> None:
    """Applies a level to the rows' losses in place, where no level has a minimum or maximum deductible."""
    if level.alone:
        mine = loss[level.rows]
        if level.in_order:
            loss[level.rows] = node_loss(mine, level, used)
            return
        loss[level.rows] = node_loss(_sums(level, mine), level, used)[level.node]
        return
    mine = loss[level.rows]
    total = sums(level.node, mine, len(level.terms))
    factor = _ratio(node_loss(total, level, used), total)
    mine *= factor[level.node]
    loss[level.rows] = mine


def apply_level_bounded(level: Level, loss: FloatArray, extras: Extras, used: Used | None = None) -> None:
    """Applies a level to losses and extras in place, and allocates both back to the rows.

    A deductible that grew is allocated by loss; one that shrank gave loss back, allocated by the room under limits
    where any is left, else by the deductible. What went above limits, and the room under them, follow the loss when
    they grow and shrink in proportion (Oasis back-allocation rule 2 with extras).
    """
    at, node = level.rows, level.node
    mine = loss[at]
    ded, over, under = extras.deductible[at], extras.over[at], extras.under[at]
    total = _sums(level, mine)
    before = Extras(_sums(level, ded), _sums(level, over), _sums(level, under))
    out, after = node_loss_bounded(total, before, level, used)

    # a node of one row takes everything as it is
    alone = level.n_rows_of_node == 1
    d = after.deductible - before.deductible
    shrunk = d < 0
    ded_factor = np.where(shrunk, 0.0, _ratio(d, total))
    by_under = shrunk & (after.under > 0)
    back = np.where(by_under, _ratio(d, before.under), np.where(shrunk, _ratio(d, before.deductible), 0.0))
    given = np.where(shrunk, d, 0.0)
    loss_factor = _ratio(out, total - given)
    o = after.over - before.over
    over_grows = o >= 0
    over_factor = np.where(over_grows, _ratio(o, total - given), _ratio(after.over, before.over))
    u = after.under - before.under
    under_grows = u >= 0
    under_factor = np.where(under_grows, _ratio(u, total), _ratio(after.under, before.under))

    # the room under limits stays where it is when loss was given back and its node's room did not change
    moved = np.where(shrunk[node], back[node] * np.where((by_under & (u != 0))[node], under, ded), 0.0)
    base = mine - moved
    new_over = np.where(over_grows[node], over + over_factor[node] * base, over * over_factor[node])
    new_under = np.where(under_grows[node], under + under_factor[node] * mine, under * under_factor[node])
    new_ded = np.where(shrunk[node], ded + moved, ded + ded_factor[node] * mine)
    single = alone[node]
    loss[at] = np.where(single, out[node], base * loss_factor[node])
    extras.deductible[at] = np.where(single, after.deductible[node], new_ded)
    extras.over[at] = np.where(single, after.over[node], new_over)
    extras.under[at] = np.where(single, after.under[node], new_under)


@dataclass(frozen=True)
class Programme:
    """The direct insurance of a book: levels over items, then levels over rows (item and policy layer)."""

    n_items: int
    row_item: IntArray  #: (n_rows,) the item of each row
    site: tuple[Level, ...]  #: over items
    policy: tuple[Level, ...]  #: over rows
    paid: BoolArray  #: (n_rows,) False where the policy does not answer at all (peril, dates)

    @property
    def n_rows(self) -> int:
        return len(self.row_item)

    @property
    def bounded(self) -> bool:
        return any(level.terms.bounded for level in (*self.site, *self.policy))

    @property
    def annual(self) -> bool:
        """Whether a deductible or limit holds for the sum of a year."""
        return any(bool(level.terms.annual.any()) for level in (*self.site, *self.policy))

    def new_year(self) -> "ProgrammeYear":
        """A year in which nothing has happened yet."""
        return ProgrammeYear(
            tuple(
                Used.none(len(level.terms)) if level.terms.annual.any() else None
                for level in (*self.site, *self.policy)
            )
        )

    def insured(self, ground_up: FloatArray, year: "ProgrammeYear | None" = None) -> FloatArray:
        """(n_rows,) insured loss of each item and policy layer from the items' ground-up loss (n_items,).

        With a `year` annual aggregates hold what its earlier events left, and this event is counted in it. Without
        one the event is the first of its year.
        """
        if ground_up.shape != (self.n_items,):
            raise BadTerms(f"ground-up loss has {ground_up.shape}, the programme has {self.n_items} items")
        used = (None,) * (len(self.site) + len(self.policy)) if year is None else year.used
        site, policy = used[: len(self.site)], used[len(self.site) :]
        if self.bounded:
            return self._insured_bounded(ground_up, site, policy)
        loss = np.array(ground_up, dtype=np.float64)
        for level, seen in zip(self.site, site, strict=True):
            apply_level(level, loss, seen)
        rows = loss[self.row_item]
        if not self.paid.all():
            rows *= self.paid
        for level, seen in zip(self.policy, policy, strict=True):
            apply_level(level, rows, seen)
        return rows

    def _insured_bounded(
        self, ground_up: FloatArray, site: Sequence[Used | None], policy: Sequence[Used | None]
    ) -> FloatArray:
        loss = np.array(ground_up, dtype=np.float64)
        extras = Extras(*(np.zeros(self.n_items) for _ in range(3)))
        for level, seen in zip(self.site, site, strict=True):
            apply_level_bounded(level, loss, extras, seen)
        rows = loss[self.row_item] * self.paid
        spread = Extras(*(part[self.row_item] for part in (extras.deductible, extras.over, extras.under)))
        last = max((i for i, level in enumerate(self.policy) if level.terms.bounded), default=-1)
        for i, (level, seen) in enumerate(zip(self.policy, policy, strict=True)):
            if i <= last:
                apply_level_bounded(level, rows, spread, seen)
            else:
                apply_level(level, rows, seen)
        return rows


@dataclass(frozen=True)
class ProgrammeYear:
    """What the annual aggregates of a programme have seen of a year so far."""

    used: tuple[Used | None, ...]  #: of each level, site levels first; None where no node has an annual aggregate


def stack(parts: Sequence[Terms]) -> Terms:
    """Terms of several groups of nodes one after the other."""
    return Terms(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in Terms.__dataclass_fields__})


def with_columns(terms: Terms, **columns: Any) -> Terms:
    """Terms with some columns in place of theirs."""
    return replace(terms, **columns)
