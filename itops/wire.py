"""Types of fields that a submission is read with."""

from decimal import Decimal
from typing import Annotated, Final

from pydantic import ConfigDict, Field

STRICT: Final = ConfigDict(extra="forbid", frozen=True)
Amount = Annotated[Decimal, Field(ge=0, le=Decimal(10) ** 15, allow_inf_nan=False)]
Positive = Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 15, allow_inf_nan=False)]
Share = Annotated[Decimal, Field(ge=0, lt=1, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=87_660, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
