"""The law of a policy's year over several covers: what each pays, and its share of the worst years."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul

import numpy as np

from core.errors import InvalidInput
from itops.aggregate import ComplexArray, LossLaw, _mixed, grid_step
from itops.severity import FloatArray, RepairLaw

#: Grid nodes at first, and the most that are tried.
N_NODES = 1 << 14
_MAX_NODES = 1 << 19
#: Relative error of a moment on the grid above which the grid is doubled.
_MEAN_TOLERANCE, _WRAP_TOLERANCE, _VARIANCE_TOLERANCE = 1e-6, 1e-4, 1e-2
#: Values of the regime at which covers with a limit for the year are computed (Gauss-Laguerre).
_N_REGIMES = 16
_CELLS = 320


class YearTooLong(InvalidInput):
    """The money grid does not hold the year's total loss."""


def _sum(a: FloatArray, b: FloatArray) -> FloatArray:
    """The sum of a b over the last axis by numpy's own loop: a product of matrices may add in an order that depends on
    the number of threads, and a quote must not."""
    return np.asarray(np.sum(a * b, axis=-1), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """Events of one kind: how many in the period, and what one pays under each cover."""

    name: str
    cause: str  #: "attritional", or the name of a shock
    expected_count: float  #: >= 0
    mixing_cv2: float  #: squared coefficient of variation of its rate; 0: Poisson
    probability: FloatArray  #: (m,) of each size of event; sums to 1
    payment: FloatArray  #: (n_covers, m) >= 0
    in_regime: bool = True  #: whether the climate of failures common to all operational kinds acts on it
    device_class: str = ""

    @property
    def mean(self) -> FloatArray:
        """(n_covers,) expected payment of one event."""
        return _sum(self.payment, self.probability)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverTerms:
    """Terms on one cover's total of the year: deductible, then limit."""

    deductible: float = 0.0
    limit: float = np.inf

    @property
    def act(self) -> bool:
        return self.deductible > 0 or np.isfinite(self.limit)

    def applied(self, loss: FloatArray) -> FloatArray:
        """min(max(loss - deductible, 0), limit)."""
        return np.minimum(np.maximum(loss - self.deductible, 0.0), self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A moment on the grid beside the same moment from counts and payments alone."""

    moment: str  #: "mean" or "variance"
    block: str  #: the covers it is of
    on_grid: float
    exact: float
    tolerance: float

    @property
    def relative_error(self) -> float:
        return abs(self.on_grid - self.exact) / self.exact if self.exact else abs(self.on_grid)

    @property
    def holds(self) -> bool:
        return self.relative_error <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class YearLaw:
    """The year of a policy, before the terms on its total."""

    total: LossLaw
    cover_mean: FloatArray  #: (n_covers,) expected payment of the year, after each cover's terms of the year
    cover_at: FloatArray  #: (n_covers, n) E[payment of the cover; total = loss[k]]
    checks: tuple[Check, ...]

    def co_tail_mean(self, level: float) -> FloatArray:
        """(n_covers,) E[payment of a cover | the total is among the worst 1 - level], the atom at the quantile split.

        The covers' figures add up to the total's tail mean (Euler allocation of TVaR; Tasche 2000).
        """
        cumulative = self.total.cumulative()
        k = min(int(np.searchsorted(cumulative, level, side="left")), len(cumulative) - 1)
        beyond = np.sum(self.cover_at[:, k + 1 :], axis=1)
        p = float(self.total.probability[k])
        weight = 1.0 - level - float(np.sum(self.total.probability[k + 1 :]))
        part = self.cover_at[:, k] * (weight / p) if p > 0 else 0.0
        return np.asarray((beyond + part) / (1.0 - level), dtype=np.float64)


def cells(law: RepairLaw, knots: Sequence[float], largest: float, smallest: float) -> tuple[FloatArray, FloatArray]:
    """A law of hours or money as (probability, conditional mean) of cells that end at every knot.

    What is linear between knots has its mean kept exactly. The last cell is everything above `largest`, where every
    payment stands still; its mean stands for "more than largest".
    """
    inner = np.geomspace(min(smallest, largest / 2), largest, _CELLS)
    edges = np.unique(np.concatenate([[0.0], inner, [x for x in knots if 0 < x < largest], [largest]]))
    survival = np.asarray(law.survival(edges), dtype=np.float64)
    area = np.asarray(law.limited_mean(edges), dtype=np.float64) - edges * survival
    probability = np.concatenate([-np.diff(survival), survival[-1:]])
    above = np.diff(area)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(probability[:-1] > 0, above / probability[:-1], edges[1:])
    mean = np.clip(mean, edges[:-1], edges[1:])
    at_zero = max(1.0 - float(survival[0]), 0.0)
    return np.concatenate([[at_zero], probability]), np.concatenate([[0.0], mean, [largest * (1 + 1e-9) + 1e-9]])


def year(kinds: Sequence[EventKind], terms: Sequence[CoverTerms], *, regime_cv: float, names: Sequence[str]) -> YearLaw:
    """The law of the year's total over covers.

    Covers without terms of the year form one block, in which two covers that pay for the same event are dependent
    exactly as that event makes them. A cover with terms of the year is a block of its own: given the regime it is
    independent of the others. Kinds without mixing are one compound Poisson sum. Raises YearTooLong.
    """
    n_covers = len(terms)
    capped = [j for j in range(n_covers) if terms[j].act]
    free = [j for j in range(n_covers) if not terms[j].act]
    blocks = ([free] if free else []) + [[j] for j in capped]
    live = [kind for kind in kinds if kind.expected_count > 0 and np.any(kind.payment > 0)]
    if not live:
        zero = LossLaw(loss=np.array([0.0, 1.0]), probability=np.array([1.0, 0.0]))
        return YearLaw(total=zero, cover_mean=np.zeros(n_covers), cover_at=np.zeros((n_covers, 2)), checks=())
    mean, variance, largest = _moments(live, list(range(n_covers)), regime_cv)
    n = N_NODES
    step = grid_step(mean, variance**0.5, largest, n)
    while True:
        law = _year_on(live, blocks, terms, regime_cv, step, n, names)
        if all(check.holds for check in law.checks if check.moment != "variance") or n >= _MAX_NODES:
            break
        n *= 2  # what wraps around is loss in the tail: a longer grid holds it
    if not all(check.holds for check in law.checks if check.moment == "mean"):
        raise YearTooLong(expected=mean, standard_deviation=variance**0.5, grid_end=step * n)
    return law


def _moments(kinds: Sequence[EventKind], covers: Sequence[int], regime_cv: float) -> tuple[float, float, float]:
    """Mean, variance and largest payment of some covers together, from counts and payments alone."""
    mean = variance = in_regime = largest = 0.0
    for kind in kinds:
        paid = kind.payment[list(covers)].sum(axis=0)
        first = kind.expected_count * float(_sum(paid, kind.probability))
        mean += first
        variance += kind.expected_count * float(_sum(paid**2, kind.probability)) + kind.mixing_cv2 * first**2
        in_regime += first if kind.in_regime else 0.0
        largest = max(largest, float(np.max(paid)))
    return mean, variance + regime_cv**2 * in_regime**2, largest


class _Places:
    """Where payments stand on a grid: each between two neighbours, so that its mean stays."""

    def __init__(self, paid: FloatArray, step: float, n: int) -> None:
        at = paid / step
        self._n = n
        self._low = np.asarray(np.minimum(np.floor(at), n - 2), dtype=np.intp)
        self._next = self._low + 1
        self._up = at - self._low
        self._down = 1.0 - self._up

    def put(self, weight: FloatArray) -> FloatArray:
        """The grid with each payment's weight split between its two neighbours."""
        low = np.bincount(self._low, weight * self._down, self._n)
        return np.asarray(low + np.bincount(self._next, weight * self._up, self._n), dtype=np.float64)


def regime_nodes(n: int, cv2: float) -> tuple[FloatArray, FloatArray]:
    """(values, weights) of Gauss-Laguerre quadrature for a gamma law of mean 1; exact to degree 2 n - 1.

    Eigenvalues of the polynomials' Jacobi matrix, and the squares of the first components of its eigenvectors: Golub &
    Welsch (1969), Math. Comp. 23, 221-230.
    """
    k, a = np.arange(n, dtype=np.float64), 1.0 / cv2 - 1.0
    beside = np.sqrt(k[1:] * (k[1:] + a))
    at, vectors = np.linalg.eigh(np.diag(2.0 * k + a + 1.0) + np.diag(beside, 1) + np.diag(beside, -1))
    return np.asarray(at * cv2, dtype=np.float64), np.asarray(vectors[0] ** 2, dtype=np.float64)


Transforms = tuple[ComplexArray, ComplexArray]  # psi and, for each cover of the block, its derivative


def _exponents(
    kinds: Sequence[EventKind], block: Sequence[int], step: float, n: int
) -> tuple[Transforms, Transforms, float]:
    """(psi, dpsi) of the kinds in the regime and outside it, and the variance that the grid's payments should give."""
    half = n // 2 + 1
    grid = np.arange(n, dtype=np.float64) * float(step)
    grid2 = grid**2
    out = []
    spread = 0.0
    for in_regime in (True, False):
        psi = np.zeros(half, dtype=np.complex128)
        derived = np.zeros((len(block), half), dtype=np.complex128)
        poisson = np.zeros(n)
        poisson_paid = np.zeros((len(block), n))
        total = 0.0
        for kind in kinds:
            if kind.in_regime is not in_regime:
                continue
            each = kind.payment[list(block)]
            paid = each.sum(axis=0)
            if not np.any(paid > 0):
                continue
            rate = kind.expected_count
            places = _Places(paid, step, n)
            f = places.put(kind.probability)
            used = [j for j in range(len(block)) if np.any(each[j] > 0)]
            g = {j: places.put(kind.probability * each[j]) for j in used}
            spread += rate * float(_sum(f, grid2)) + kind.mixing_cv2 * (rate * float(_sum(f, grid))) ** 2
            if kind.mixing_cv2 < 1e-12:
                poisson += rate * f
                total += rate
                for j in used:
                    poisson_paid[j] += rate * g[j]
                continue
            z = rate * (np.fft.rfft(f) - 1.0)
            psi += _mixed(np.asarray(z, dtype=np.complex128), kind.mixing_cv2)
            slope = 1.0 / (1.0 - kind.mixing_cv2 * z)
            for j in used:
                derived[j] += slope * rate * np.fft.rfft(g[j])
        if total > 0:
            psi += np.fft.rfft(poisson) - total
            for j in range(len(block)):
                derived[j] += np.fft.rfft(poisson_paid[j])
        out.append((psi, derived))
    return out[0], out[1], spread


def _year_on(
    kinds: Sequence[EventKind],
    blocks: Sequence[Sequence[int]],
    terms: Sequence[CoverTerms],
    regime_cv: float,
    step: float,
    n: int,
    names: Sequence[str],
) -> YearLaw:
    loss = np.arange(n, dtype=np.float64) * step
    parts = [_exponents(kinds, block, step, n) for block in blocks]
    r = regime_cv**2
    shared = len(blocks) > 1 and sum(bool(np.any(part[0][1])) for part in parts) > 1
    nodes: list[tuple[float, float | None]] = [(1.0, None)]
    if shared and r > 0:
        at, weight = regime_nodes(_N_REGIMES, r)
        nodes = [(float(w), float(x)) for w, x in zip(weight, at, strict=True)]
    paid_after = {
        b: (after, _Places(after, step, n))
        for b, block in enumerate(blocks)
        if len(block) == 1 and terms[block[0]].act
        for after in [terms[block[0]].applied(loss)]
    }
    # Transforms are linear: what only has to be added over the regime's values is added before it is turned back.
    half = n // 2 + 1
    whole = np.zeros(half, dtype=np.complex128)
    paid_by = np.zeros((len(terms), half), dtype=np.complex128)
    law_of = np.zeros((len(blocks), half), dtype=np.complex128)
    for weight_k, theta in nodes:
        laws: list[ComplexArray] = []
        paid: list[ComplexArray] = []
        for b, ((psi_in, d_in), (psi_out, d_out), _) in enumerate(parts):
            if theta is None:
                phi = np.exp(_mixed(psi_in, r) + psi_out)
                derived = phi * (d_in / (1.0 - r * psi_in) + d_out)
            else:
                phi = np.exp(theta * psi_in + psi_out)
                derived = phi * (theta * d_in + d_out)
            law_of[b] += weight_k * phi
            if b in paid_after:
                own = np.fft.irfft(phi, n)
                # Past the grid's end a transform has rounding noise of either sign; the law itself is what counts.
                after, places = paid_after[b]
                own = np.maximum(own, 0.0)
                own = own / np.sum(own)
                phi = np.fft.rfft(places.put(own))
                derived = np.fft.rfft(places.put(own * after))[None, :]
            laws.append(phi)
            paid.append(derived)
        whole += weight_k * _product(laws)
        for b, block in enumerate(blocks):
            others = _product([law for c, law in enumerate(laws) if c != b] or [np.ones(half, dtype=complex)])
            for i, j in enumerate(block):
                paid_by[j] += weight_k * (paid[b][i] * others)
    probability = np.fft.irfft(whole, n)
    cover_at = np.fft.irfft(paid_by, n, axis=-1)
    on_grid = [(float(_sum(loss, own)), float(_sum(loss**2, own))) for own in np.fft.irfft(law_of, n, axis=-1)]
    checks = []
    for b, block in enumerate(blocks):
        mean, variance, _ = _moments(kinds, block, regime_cv)
        variance_on_grid = on_grid[b][1] - on_grid[b][0] ** 2
        in_regime = sum(
            k.expected_count * float(_sum(k.payment[list(block)].sum(axis=0), k.probability))
            for k in kinds
            if k.in_regime
        )
        expected = parts[b][2] + r * in_regime**2
        told = "+".join(names[j] for j in block)
        checks.append(Check(moment="mean", block=told, on_grid=on_grid[b][0], exact=mean, tolerance=_MEAN_TOLERANCE))
        checks.append(
            Check(
                moment="wrapped variance",
                block=told,
                on_grid=variance_on_grid,
                exact=expected,
                tolerance=_WRAP_TOLERANCE,
            )
        )
        # Splitting a payment between two nodes adds at most a quarter of a step squared to each event: a coarse grid
        # is seen here, and is told, but a finer one changes no mean.
        checks.append(
            Check(
                moment="variance", block=told, on_grid=variance_on_grid, exact=variance, tolerance=_VARIANCE_TOLERANCE
            )
        )
    probability = np.maximum(probability, 0.0)
    total = LossLaw(loss=loss, probability=probability / np.sum(probability))
    return YearLaw(total=total, cover_mean=np.sum(cover_at, axis=1), cover_at=cover_at, checks=tuple(checks))


def _product(laws: Sequence[ComplexArray]) -> ComplexArray:
    return reduce(mul, laws)


def event(
    name: str,
    law: RepairLaw,
    knots: Sequence[float],
    largest: float,
    pay: Sequence[Callable[[FloatArray], FloatArray]],
    *,
    cause: str = "attritional",
    count: float,
    mixing_cv2: float = 0.0,
    in_regime: bool = True,
    device_class: str = "",
    smallest: float = 0.05,
) -> EventKind:
    """A kind of event whose size (hours or money) follows `law`; each cover pays a function of it, linear between
    `knots` and standing still above `largest`."""
    probability, at = cells(law, knots, largest, smallest)
    return EventKind(
        name=name,
        cause=cause,
        expected_count=count,
        mixing_cv2=mixing_cv2,
        probability=probability,
        payment=np.array([f(at) for f in pay]),
        in_regime=in_regime,
        device_class=device_class,
    )
