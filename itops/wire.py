"""Types of fields that a submission is read with."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool

STRICT: Final = ConfigDict(extra="forbid", frozen=True)


def _no_truth(value: Any) -> Any:
    """True is 1 and false 0 to a lenient reader; in a submission they are a mistake."""
    if isinstance(value, bool):
        raise ValueError("is true or false where a number is needed")
    return value


def _written_day(value: Any) -> Any:
    """A number would be read as seconds since 1970."""
    if not isinstance(value, str | date):
        raise ValueError("is not a date of the form YYYY-MM-DD")
    return value


_NoTruth: Final = BeforeValidator(_no_truth)
Amount = Annotated[Decimal, Field(ge=0, le=Decimal(10) ** 15, allow_inf_nan=False), _NoTruth]
#: At least the smallest amount that a policy can name, a hundredth.
Positive = Annotated[Decimal, Field(ge=Decimal("0.01"), le=Decimal(10) ** 15, allow_inf_nan=False), _NoTruth]
Share = Annotated[Decimal, Field(ge=0, lt=1, allow_inf_nan=False), _NoTruth]
Part = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False), _NoTruth]
Hours = Annotated[float, Field(ge=0, le=87_660, allow_inf_nan=False), _NoTruth]
PositiveHours = Annotated[float, Field(gt=0, le=87_660, allow_inf_nan=False), _NoTruth]
Reading = Annotated[float, Field(ge=0, allow_inf_nan=False), _NoTruth]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Day = Annotated[date, Field(strict=False), BeforeValidator(_written_day)]
Truth = StrictBool
