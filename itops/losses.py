"""Laws of a loss in money: damage of a device, recovery of its data, a security event."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, log_ndtr, ndtr

from core.errors import InvalidInput
from itops.severity import FloatArray, RepairLaw


class BadLoss(InvalidInput):
    """A loss law's parameters are out of range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageShare:
    """The share of a device's value that an accident takes: Beta(a, b), or all of it with probability `total`."""

    a: float
    b: float
    total: float

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0 and 0 <= self.total <= 1):
            raise BadLoss(law=repr(self))

    def survival(self, share: FloatArray) -> FloatArray:
        x = np.clip(np.asarray(share, dtype=np.float64), 0.0, 1.0)
        return np.where(x >= 1.0, 0.0, self.total + (1.0 - self.total) * (1.0 - betainc(self.a, self.b, x)))

    def limited_mean(self, share: FloatArray) -> FloatArray:
        """E[min(B, x)] = q x + (1 - q) (E[B; B <= x] + x P(B > x))."""
        x = np.clip(np.asarray(share, dtype=np.float64), 0.0, 1.0)
        within = self.a / (self.a + self.b) * betainc(self.a + 1.0, self.b, x)
        partial = within + x * (1.0 - betainc(self.a, self.b, x))
        return np.asarray(self.total * x + (1.0 - self.total) * partial, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """A log-normal amount, up to a cap and then beside a fixed amount: min(X, cap) + fixed."""

    median: float
    sigma: float
    fixed: float = 0.0
    cap: float = np.inf  #: on X + fixed

    def __post_init__(self) -> None:
        if not (self.median > 0 and self.sigma > 0 and self.fixed >= 0 and self.cap > 0):
            raise BadLoss(law=repr(self))

    def _z(self, amount: FloatArray) -> tuple[FloatArray, FloatArray]:
        x = np.maximum(np.asarray(amount, dtype=np.float64) - self.fixed, 0.0)
        with np.errstate(divide="ignore"):
            return x, (np.log(x) - np.log(self.median)) / self.sigma

    def survival(self, amount: FloatArray) -> FloatArray:
        y = np.asarray(amount, dtype=np.float64)
        _, z = self._z(y)
        return np.where(y >= self.cap, 0.0, np.where(y < self.fixed, 1.0, ndtr(-z)))

    def limited_mean(self, amount: FloatArray) -> FloatArray:
        """E[min(X, x)] = m e^(s^2/2) Phi(z - s) + x Phi(-z), Klugman, Panjer & Willmot, appendix A."""
        y = np.minimum(np.maximum(np.asarray(amount, dtype=np.float64), 0.0), self.cap)
        x, z = self._z(y)
        with np.errstate(invalid="ignore"):
            part = np.exp(np.log(self.median) + 0.5 * self.sigma**2 + log_ndtr(z - self.sigma)) + x * ndtr(-z)
        return np.where(y <= self.fixed, y, self.fixed + np.where(x > 0, part, 0.0))


class Capped:
    """A repair-time law with replacement after `cap_h` hours: min(D, cap)."""

    def __init__(self, law: RepairLaw, cap_h: float) -> None:
        if not cap_h > 0:
            raise BadLoss(cap_h=cap_h)
        self.law, self.cap_h = law, cap_h

    def survival(self, hours: FloatArray) -> FloatArray:
        h = np.asarray(hours, dtype=np.float64)
        return np.where(h >= self.cap_h, 0.0, self.law.survival(h))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        return self.law.limited_mean(np.minimum(np.asarray(hours, dtype=np.float64), self.cap_h))

    @property
    def mean(self) -> float:
        return float(self.law.limited_mean(np.array([self.cap_h]))[0])


class Mixture:
    """A weighted mean of repair-time laws."""

    def __init__(self, laws: Sequence[RepairLaw], weights: Sequence[float]) -> None:
        total = sum(weights)
        if not laws or not total > 0:
            raise BadLoss(n_laws=len(laws), weight=total)
        merged: dict[int, tuple[RepairLaw, float]] = {}
        for law, weight in zip(laws, weights, strict=True):  # a thousand like devices have one law
            if weight > 0:
                merged[id(law)] = (law, merged.get(id(law), (law, 0.0))[1] + weight / total)
        self._parts = list(merged.values())

    def survival(self, hours: FloatArray) -> FloatArray:
        return sum((w * law.survival(hours) for law, w in self._parts), np.zeros_like(np.asarray(hours, float)))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        return sum((w * law.limited_mean(hours) for law, w in self._parts), np.zeros_like(np.asarray(hours, float)))

    def prior_part(self) -> "PriorMix":
        """What of the mixture the priors of its laws give; a law without a prior below it is a prior itself."""
        return PriorMix([(getattr(law, "prior_part", lambda law=law: law)(), w) for law, w in self._parts])


class PriorMix:
    """Weighted prior parts: not a law by itself, it does not sum to 1."""

    def __init__(self, parts: Sequence[tuple[RepairLaw, float]]) -> None:
        self._parts = parts

    def survival(self, hours: FloatArray) -> FloatArray:
        return sum((w * law.survival(hours) for law, w in self._parts), np.zeros_like(np.asarray(hours, float)))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        return sum((w * law.limited_mean(hours) for law, w in self._parts), np.zeros_like(np.asarray(hours, float)))


class Tabulated:
    """A repair-time law known at some hours, straight between them: its limited mean is that line's exact area."""

    def __init__(self, hours: FloatArray, survival: FloatArray) -> None:
        if hours[0] != 0 or np.any(np.diff(hours) <= 0) or np.any(np.diff(survival) > 1e-12):
            raise BadLoss("A tabulated survival function starts at 0 hours and never rises")
        self._h, self._s = hours, survival
        self._area = np.concatenate([[0.0], np.cumsum(0.5 * (survival[1:] + survival[:-1]) * np.diff(hours))])

    def survival(self, hours: FloatArray) -> FloatArray:
        h = np.asarray(hours, dtype=np.float64)
        return np.where(h >= self._h[-1], 0.0, np.interp(h, self._h, self._s))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        h = np.clip(np.asarray(hours, dtype=np.float64), 0.0, self._h[-1])
        k = np.minimum(np.searchsorted(self._h, h, side="right") - 1, len(self._h) - 2)
        at = np.interp(h, self._h, self._s)
        return np.asarray(self._area[k] + 0.5 * (self._s[k] + at) * (h - self._h[k]), dtype=np.float64)


def sized(law: DamageShare, value: FloatArray, weight: FloatArray) -> "SizedDamage":
    """Damage in money of a device drawn by `weight` from devices of these values."""
    return SizedDamage(law, value, weight / np.sum(weight))


class SizedDamage:
    """V B for a device of random value V."""

    def __init__(self, law: DamageShare, value: FloatArray, weight: FloatArray) -> None:
        self._law, self._value, self._weight = law, value, weight
        self.largest = float(np.max(value))

    def survival(self, amount: FloatArray) -> FloatArray:
        x = np.asarray(amount, dtype=np.float64)
        return np.asarray(
            np.sum(self._law.survival(x[..., None] / self._value) * self._weight, axis=-1), dtype=np.float64
        )

    def limited_mean(self, amount: FloatArray) -> FloatArray:
        x = np.asarray(amount, dtype=np.float64)
        return np.asarray(
            np.sum(self._law.limited_mean(x[..., None] / self._value) * (self._weight * self._value), axis=-1),
            dtype=np.float64,
        )
