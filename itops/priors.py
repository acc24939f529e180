"""What is believed before a fleet's own record is seen, each figure with its source or named a judgement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from itops.frequency import FrequencyPrior
from itops.severity import Spliced

#: How a figure is known: read in a source, or judged.
KINDS = ("source", "judgement")


class BadPriors(InvalidInput):
    """The table of priors cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Where a figure comes from."""

    kind: str  #: one of KINDS
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPrior:
    """A repair-time law and the tickets it counts for."""

    law: Spliced
    weight_tickets: float
    basis: Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class Priors:
    """One version of the priors."""

    version: str
    frequency: Mapping[str, tuple[FrequencyPrior, Basis]]  #: by device class
    repair: Mapping[str, RepairPrior]  #: by device class, and "default"
    overdispersion_cv: float
    regime_cv: float
    assumptions: Mapping[str, tuple[str, Basis]]  #: every assumption as (value, where it comes from)

    def classes(self) -> tuple[str, ...]:
        """The device classes that can be priced."""
        return tuple(sorted(self.frequency))

    def repair_of(self, device_class: str) -> RepairPrior:
        """The class's repair-time prior, or the default one."""
        return self.repair.get(device_class, self.repair["default"])


def read_priors(text: str) -> Priors:
    """Priors from JSON of the shape of itops/data/priors.json; raises BadPriors naming the entry."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadPriors(f"The table of priors is not JSON: {error}") from error
    entry = "priors"
    try:
        frequency = {}
        for name, item in raw["frequency"].items():
            entry = f"frequency.{name}"
            prior = FrequencyPrior(
                rate_per_year=_positive(item, "rate_per_year"), weight_years=_positive(item, "weight_years")
            )
            frequency[name] = (prior, _basis(item))
        repair = {}
        for name, item in raw["repair"].items():
            entry = f"repair.{name}"
            law = Spliced(
                body_mu=float(item["body_mu"]),
                body_sigma=float(item["body_sigma"]),
                threshold_h=float(item["threshold_h"]),
                probability_above=float(item["probability_above"]),
                tail_shape=float(item["tail_shape"]),
                tail_scale_h=float(item["tail_scale_h"]),
            )
            repair[name] = RepairPrior(law=law, weight_tickets=_positive(item, "weight_tickets"), basis=_basis(item))
        entry = "assumptions"
        assumptions = raw["assumptions"]
        overdispersion_cv = _positive(assumptions["overdispersion_cv"], "value")
        regime_cv = _positive(assumptions["regime_cv"], "value")
        if "default" not in repair or not frequency:
            raise BadPriors("The table of priors needs frequency classes and repair.default")
        return Priors(
            version=str(raw["version"]),
            frequency=frequency,
            repair=repair,
            overdispersion_cv=overdispersion_cv,
            regime_cv=regime_cv,
            assumptions={name: (str(item["value"]), _basis(item)) for name, item in assumptions.items()},
        )
    except BadPriors:
        raise
    except InvalidInput as error:
        raise BadPriors(f"{entry}: {error}") from error
    except KeyError as error:
        raise BadPriors(f"{entry}: {error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadPriors(f"{entry}: {error}") from error


def _positive(item: Mapping[str, Any], name: str) -> float:
    value = float(item[name])
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, not {value}")
    return value


def _basis(item: Mapping[str, Any]) -> Basis:
    if item["kind"] not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {item['kind']!r}")
    return Basis(kind=item["kind"], text=str(item["basis"]))
