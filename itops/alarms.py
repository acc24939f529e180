"""What a device's telemetry says about its next failures, and the work order that answers it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from itops.book import Book
from itops.submission import Alarm

#: What a work order asks for, the strongest first.
ACTIONS = ("replace", "firmware", "inspect")


class UnknownSignal(InvalidInput):
    """This signal is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """Preventive work on one device, and what it does to its hazard."""

    asset_id: str
    device_class: str
    signal: str
    value: float
    action: str  #: one of ACTIONS
    hazard_before: float  #: multiplier of the device's rate, averaged over the policy period
    hazard_after: float
    basis: str


def _signal(book: Book, name: str) -> Mapping[str, Any]:
    found = book.alarms["signals"].get(name)
    if found is None:
        raise UnknownSignal(
            f"alarms: {name!r} is not a known signal; known are {', '.join(sorted(book.alarms['signals']))}"
        )
    out: Mapping[str, Any] = found
    return out


def _step(steps: Sequence[Sequence[Any]], value: float) -> Any:
    """The last step that the value reaches; None below the first."""
    return next((step[1] for step in reversed(steps) if value >= float(step[0])), None)


def averaged(excess: float, days: float, half_life_days: float) -> float:
    """1 + the excess of a multiplier that halves every half-life, averaged over so many days.

    Integral of 2^(-t / h) from 0 to T, over T: h / (T ln 2) (1 - 2^(-T / h)).
    """
    if days <= 0:
        return 1.0
    share = half_life_days / (days * math.log(2.0)) * -math.expm1(-days / half_life_days * math.log(2.0))
    return 1.0 + excess * share


def multiplier(alarms: Sequence[Alarm], device_class: str, period_days: int, book: Book) -> float:
    """What a device's worst alarm does to its rate over the policy period. Raises UnknownSignal."""
    worst = 1.0
    for alarm in alarms:
        signal = _signal(book, alarm.signal)
        if device_class in signal["classes"]:
            worst = max(worst, float(_step(signal["steps"], alarm.value) or 1.0))
    return averaged(worst - 1.0, period_days, float(book.alarms["half_life_days"]))


def work_orders(
    alarms: Sequence[Alarm], class_of: Mapping[str, str], period_days: int, book: Book
) -> tuple[WorkOrder, ...]:
    """One order for each device whose telemetry asks for work: the strongest action wins. Raises UnknownSignal."""
    found: dict[str, WorkOrder] = {}
    half_life = float(book.alarms["half_life_days"])
    for alarm in alarms:
        signal = _signal(book, alarm.signal)
        device_class = class_of[alarm.asset_id]
        action = _step(signal["order"], alarm.value)
        if action is None or device_class not in signal["classes"]:
            continue
        excess = float(_step(signal["steps"], alarm.value) or 1.0) - 1.0
        left = 1.0 - float(book.alarms["after"][action])
        order = WorkOrder(
            asset_id=alarm.asset_id,
            device_class=device_class,
            signal=alarm.signal,
            value=alarm.value,
            action=str(action),
            hazard_before=averaged(excess, period_days, half_life),
            hazard_after=averaged(excess * left, period_days, half_life),
            basis=str(signal["kind"]),
        )
        other = found.get(alarm.asset_id)
        if other is None or (ACTIONS.index(order.action), -order.hazard_before) < (
            ACTIONS.index(other.action), -other.hazard_before,
        ):  # fmt: skip
            found[alarm.asset_id] = order
    return tuple(found[name] for name in sorted(found))
