"""Quantities, their SI units, and conversion at the edge.

Every stored value is in the SI unit of its quantity; the unit a device spoke is converted once, on the way in.
Unit symbols are those of the SenML registry (RFC 8428 section 12.1 and RFC 8798) plus the feet and inches that
gauges really send.
"""

from dataclasses import dataclass

from core.errors import InvalidInput


class UnknownUnit(InvalidInput):
    """This unit is not known for this quantity."""


class UnknownQuantity(InvalidInput):
    """This quantity is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What is measured, the unit its values are stored in, and what a device may send instead."""

    name: str
    unit: str
    #: unit -> (factor, offset): stored = sent * factor + offset
    accepts: dict[str, tuple[float, float]]
    #: bounds no instrument on earth should pass; the gross-range test starts from them
    lowest: float
    highest: float


_FOOT_M = 0.3048  # exact: international foot, 1959 agreement
_INCH_M = 0.0254

_QUANTITIES = (
    Quantity(
        name="level",
        unit="m",
        accepts={"m": (1, 0), "cm": (0.01, 0), "mm": (0.001, 0), "ft": (_FOOT_M, 0), "in": (_INCH_M, 0)},
        lowest=-100.0,
        highest=1000.0,
    ),
    Quantity(
        name="discharge",
        unit="m3/s",
        accepts={"m3/s": (1, 0), "l/s": (0.001, 0), "ft3/s": (_FOOT_M**3, 0), "cfs": (_FOOT_M**3, 0)},
        lowest=-50_000.0,
        highest=400_000.0,
    ),
    Quantity(
        name="rain", unit="mm", accepts={"mm": (1, 0), "m": (1000, 0), "in": (25.4, 0)}, lowest=0.0, highest=500.0
    ),
    Quantity(name="rain_rate", unit="mm/h", accepts={"mm/h": (1, 0), "in/h": (25.4, 0)}, lowest=0.0, highest=500.0),
    Quantity(
        name="wind_speed",
        unit="m/s",
        accepts={"m/s": (1, 0), "km/h": (1 / 3.6, 0), "kn": (1852 / 3600, 0), "mi/h": (0.44704, 0)},
        lowest=0.0,
        highest=150.0,
    ),
    Quantity(
        name="temperature",
        unit="Cel",
        accepts={"Cel": (1, 0), "K": (1, -273.15), "degF": (5 / 9, -160 / 9)},
        lowest=-90.0,
        highest=70.0,
    ),
    Quantity(
        name="pressure",
        unit="hPa",
        accepts={"hPa": (1, 0), "Pa": (0.01, 0), "kPa": (10, 0), "mbar": (1, 0), "inHg": (33.86389, 0)},
        lowest=500.0,
        highest=1100.0,
    ),
    Quantity(
        name="humidity", unit="%RH", accepts={"%RH": (1, 0), "%": (1, 0), "/": (100, 0)}, lowest=0.0, highest=110.0
    ),
    Quantity(name="battery", unit="V", accepts={"V": (1, 0), "mV": (0.001, 0)}, lowest=0.0, highest=60.0),
    Quantity(
        name="device_temperature",
        unit="Cel",
        accepts={"Cel": (1, 0), "K": (1, -273.15), "degF": (5 / 9, -160 / 9)},
        lowest=-60.0,
        highest=150.0,
    ),
    # What IT devices report of themselves: raw SMART attributes by number, and three signals of their surroundings.
    *(
        Quantity(name=name, unit="count", accepts={"count": (1, 0), "1": (1, 0)}, lowest=0.0, highest=1e12)
        for name in ("smart_5", "smart_12", "smart_187", "smart_188", "smart_197", "smart_198", "firmware_advisory")
    ),
    Quantity(name="smart_9", unit="h", accepts={"h": (1, 0), "s": (1 / 3600, 0)}, lowest=0.0, highest=1e6),
    Quantity(name="battery_wear", unit="/", accepts={"/": (1, 0), "%": (0.01, 0)}, lowest=0.0, highest=2.0),
    Quantity(
        name="inlet_temperature",
        unit="Cel",
        accepts={"Cel": (1, 0), "K": (1, -273.15), "degF": (5 / 9, -160 / 9)},
        lowest=-40.0,
        highest=90.0,
    ),
)

QUANTITIES: dict[str, Quantity] = {q.name: q for q in _QUANTITIES}


def quantity(name: str) -> Quantity:
    """The quantity of this name; raises UnknownQuantity."""
    found = QUANTITIES.get(name)
    if found is None:
        raise UnknownQuantity(quantity=name, known=sorted(QUANTITIES))
    return found


def conversion(name: str, unit: str | None) -> tuple[float, float]:
    """(factor, offset) that turn a value sent in `unit` into the stored unit of the quantity.

    A missing unit means the stored one. Raises UnknownUnit, UnknownQuantity.
    """
    q = quantity(name)
    if unit is None:
        return (1.0, 0.0)
    found = q.accepts.get(unit)
    if found is None:
        raise UnknownUnit(quantity=name, unit=unit, known=sorted(q.accepts))
    return found


def to_stored(name: str, value: float, unit: str | None) -> float:
    """`value` in `unit`, in the stored unit of the quantity."""
    factor, offset = conversion(name, unit)
    return value * factor + offset
