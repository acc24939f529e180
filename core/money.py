"""Money at the edges: an exact amount and its currency. Array work uses float64 in one stated currency."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from core.errors import InvalidInput

#: Minor units that are not hundredths (ISO 4217).
_MINOR_DIGITS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "KWD": 3, "OMR": 3, "TND": 3}


class CurrencyMismatch(InvalidInput):
    """Amounts in different currencies do not add."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in one currency (ISO 4217 code)."""

    amount: Decimal
    currency: str

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise CurrencyMismatch(left=self.currency, right=other.currency)
        return Money(self.amount + other.amount, self.currency)

    def rounded(self) -> "Money":
        """To the currency's minor unit, half away from zero, as an invoice shows it."""
        digits = _MINOR_DIGITS.get(self.currency, 2)
        return Money(self.amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP), self.currency)

    def __str__(self) -> str:
        shown = self.rounded().amount
        return f"{shown:,} {self.currency}"
