"""From a year's loss to a premium: risk load, expenses, profit. Money is exact from here on."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from scipy.special import ndtr, ndtri

from core.errors import InvalidInput
from core.money import Money
from itops.aggregate import LossLaw


class BadLoading(InvalidInput):
    """Expenses and profit must leave part of the premium for losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadings:
    """What the premium pays for beside losses."""

    acquisition: Decimal  #: share of premium
    administration: Decimal  #: share of premium
    profit: Decimal  #: share of premium
    loss_adjustment: Decimal = Decimal(0)  #: share of expected loss
    service_cost: Decimal = Decimal(0)  #: amount for the period

    def __post_init__(self) -> None:
        parts = (self.acquisition, self.administration, self.profit, self.loss_adjustment, self.service_cost)
        if any(part < 0 for part in parts) or self.acquisition + self.administration + self.profit >= 1:
            raise BadLoading(
                acquisition=str(self.acquisition), administration=str(self.administration), profit=str(self.profit)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapitalCharge:
    """Cost of capital: rate x (TVaR at `level` - expected loss)."""

    rate: Decimal
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The steps from expected loss to technical premium; they add up to it to the cent."""

    expected_loss: Money
    experience: Money  #: what the insured's own claims add or take
    loss_adjustment: Money
    service_cost: Money
    risk_load: Money
    acquisition: Money
    administration: Money
    profit: Money
    technical_premium: Money


def risk_load_by_capital(law: LossLaw, charge: CapitalCharge) -> float:
    """Cost of capital x (TVaR - mean), the stand-alone capital of this quote."""
    return float(charge.rate) * max(law.tail_mean(charge.level) - law.mean, 0.0)


def wang_mean(law: LossLaw, shift: float) -> float:
    """The mean under Wang's transform, the integral of Phi(Phi^-1(P(S > x)) + shift).

    Wang (2000), J. Risk & Insurance 67, "A class of distortion operators for pricing financial and insurance risks".
    """
    exceedance = np.clip(1.0 - law.cumulative(), 0.0, 1.0)[:-1]
    distorted = ndtr(ndtri(exceedance) + shift)
    return float(law.loss[0] + np.sum(distorted * np.diff(law.loss)))


def proportional_hazard_mean(law: LossLaw, exponent: float) -> float:
    """The mean under the proportional-hazards transform, the integral of P(S > x)^exponent (Wang 1995)."""
    exceedance = np.clip(1.0 - law.cumulative(), 0.0, 1.0)[:-1]
    return float(law.loss[0] + np.sum(exceedance**exponent * np.diff(law.loss)))


def exact(amount: float) -> Decimal:
    """A float as Decimal to a millionth: what lies below is rounding noise of the array work, not money."""
    return Decimal(repr(amount)).quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


def technical_premium(
    expected_loss: Decimal, risk_load: Decimal, loadings: Loadings, currency: str, *, experience: Decimal = Decimal(0)
) -> Waterfall:
    """(expected loss + loss adjustment + service cost + risk load) / (1 - acquisition - administration - profit).

    The expected loss is taken after `experience`, which stands as a step of its own.
    """
    adjustment = (expected_loss + experience) * loadings.loss_adjustment
    share = loadings.acquisition + loadings.administration + loadings.profit
    premium = (expected_loss + experience + adjustment + loadings.service_cost + risk_load) / (1 - share)

    def money(amount: Decimal) -> Money:
        return Money(amount, currency).rounded()

    total = money(premium)
    parts = {
        "expected_loss": money(expected_loss),
        "experience": money(experience),
        "loss_adjustment": money(adjustment),
        "service_cost": money(loadings.service_cost),
        "risk_load": money(risk_load),
        "acquisition": money(premium * loadings.acquisition),
        "administration": money(premium * loadings.administration),
    }
    # The last step takes the rounding of the others, so that what is printed adds up.
    rest = total.amount - sum((part.amount for part in parts.values()), Decimal(0))
    return Waterfall(**parts, profit=Money(rest, currency), technical_premium=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commercial:
    """What is asked for beside what is technically right; both are kept."""

    premium: Money
    technical: Money
    market: Money  #: what the market factor adds or takes
    tier: Money  #: load or discount of the risk's tier
    held_at_floor: Money  #: what the floor gives back
    floor: Money  #: expected loss / (1 - acquisition - administration)
    below_floor: bool  #: the price before the floor lies below it
    approved_by: str | None  #: who approved a premium below the floor
    levies: tuple[tuple[str, Money], ...]

    @property
    def payable(self) -> Money:
        return sum((amount for _, amount in self.levies), self.premium)


def commercial_premium(
    waterfall: Waterfall,
    loadings: Loadings,
    *,
    factor: Decimal,
    tier_factor: Decimal,
    approved_by: str | None,
    levies: Sequence[tuple[str, Decimal]],
) -> Commercial:
    """Technical premium x market factor x tier factor, not below the floor unless a named person approved it."""
    currency = waterfall.technical_premium.currency

    def money(amount: Decimal) -> Money:
        return Money(amount, currency).rounded()

    technical = waterfall.technical_premium.amount
    loss = waterfall.expected_loss.amount + waterfall.experience.amount
    floor = money(loss / (1 - loadings.acquisition - loadings.administration))
    asked = money(technical * factor * tier_factor)
    market = money(technical * (factor - 1))
    below = asked.amount < floor.amount
    held = floor.amount - asked.amount if below and not approved_by else Decimal(0)
    premium = Money(asked.amount + held, currency)
    return Commercial(
        premium=premium,
        technical=waterfall.technical_premium,
        market=market,
        tier=Money(asked.amount - technical - market.amount, currency),
        held_at_floor=Money(held, currency),
        floor=floor,
        below_floor=below,
        approved_by=approved_by if below else None,
        levies=tuple((name, money(premium.amount * rate)) for name, rate in levies),
    )
