"""Service hours that an outage costs: the law of its elapsed hours seen through the calendar of the service."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from core.errors import InvalidInput
from itops.severity import FloatArray, RepairLaw
from itops.sla import WorkingCalendar

#: Equal parts of the law of service hours given an outage's length, each told by its mean.
_PARTS = 64
#: Starts: quarters of an hour of one week; of a period with dated days a lattice whose step is no part of a day.
_STEP_H, _DATED_STEP_H = 0.25, 1.9
_WEEK_H = 168.0
#: Lengths at which that law is computed; between them it is straight, beyond the last the share of service is lost.
_LENGTHS_H = np.unique(
    np.concatenate([np.arange(0.0, 48.0, 0.5), np.arange(48.0, 336.0, 4.0), np.arange(336.0, 1441.0, 24.0)])
)
_H = timedelta(hours=1)


class NeverInService(InvalidInput):
    """service_calendar: has no service hours in the policy period"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCalendar:
    """The hours in which a service counts as due, and when outages begin."""

    name: str
    calendar: WorkingCalendar
    by_hour: tuple[float, ...] | None = None  #: (24,) weight of a start in each local hour; None: uniform over time
    by_weekday: tuple[float, ...] | None = None  #: (7,) Monday first


class ServiceHours:
    """P(service hours lost <= s | an outage of d hours), as a mixture over starts in the calendar's cycle.

    The cycle is a week where nothing is dated and the clocks do not change in [start, end), else that whole period.
    A start u loses V(u + d) - V(u) with V the service hours run by a moment; starts are uniform over the cycle, or
    weighted by the stated pattern of incidents. The law at each length is kept as the means of equal parts, so that
    E[service hours | d] is exact at the lengths that are kept; each part never falls in d.
    """

    def __init__(self, service: ServiceCalendar, start: datetime, end: datetime) -> None:
        self.service = service
        calendar = service.calendar
        days = [start + timedelta(days=k) for k in range((end - start).days + 1)]
        offsets = {day.astimezone(calendar.zone).utcoffset() for day in days}
        self.dated = bool(calendar.holidays or calendar.extra or len(offsets) > 1)
        length = (end - start) / _H if self.dated else _WEEK_H
        edges, run = self._clock(start, length + float(_LENGTHS_H[-1]))
        self.share = float(np.interp(length, edges, run)) / length
        if self.share <= 0:
            raise NeverInService(calendar=service.name)
        n = int(np.ceil(length / (_DATED_STEP_H if self.dated else _STEP_H)))
        starts: FloatArray = (np.arange(n, dtype=np.float64) + 0.5) * float(length / n)
        weight = self._weights(start, starts)
        self.n_starts = n
        at_start = np.interp(starts, edges, run)
        self.parts = np.empty((_PARTS, len(_LENGTHS_H)))
        cuts = np.linspace(0.0, 1.0, _PARTS + 1)
        for k, hours in enumerate(_LENGTHS_H):
            lost = np.interp(starts + hours, edges, run) - at_start
            order = np.argsort(lost, kind="stable")
            below = np.concatenate([[0.0], np.cumsum(weight[order])])
            summed = np.concatenate([[0.0], np.cumsum(weight[order] * lost[order])])
            self.parts[:, k] = np.diff(np.interp(cuts, below / below[-1], summed)) * _PARTS
        self.parts = np.maximum.accumulate(np.maximum(self.parts, 0.0), axis=1)

    def _clock(self, start: datetime, hours: float) -> tuple[FloatArray, FloatArray]:
        """(hours after `start`, service hours run by then), straight between."""
        edges, run, total = [0.0], [0.0], 0.0
        first = start.astimezone(self.service.calendar.zone).date() - timedelta(days=1)
        for k in range(int(hours / 24.0) + 4):
            for begin, end in self.service.calendar.spans_of(first + timedelta(days=k)):
                a, b = max((begin - start) / _H, 0.0), min((end - start) / _H, hours)
                if b > a:
                    edges += [a, b]
                    run += [total, total + b - a]
                    total += b - a
        return np.array([*edges, hours]), np.array([*run, total])

    def _weights(self, start: datetime, starts: FloatArray) -> FloatArray:
        """(n,) weight of each start by its local hour and weekday; sums to 1."""
        service = self.service
        if self.uniform:
            return np.full(len(starts), 1.0 / len(starts))
        local = [(start + timedelta(hours=float(h))).astimezone(service.calendar.zone) for h in starts]
        weight = np.array(
            [
                (1.0 if service.by_hour is None else service.by_hour[at.hour])
                * (1.0 if service.by_weekday is None else service.by_weekday[at.weekday()])
                for at in local
            ]
        )
        if not np.sum(weight) > 0:
            raise NeverInService("service_calendar: by its pattern no incident begins in the policy period")
        return np.asarray(weight / np.sum(weight), dtype=np.float64)

    @property
    def uniform(self) -> bool:
        """Whether outages begin at any time alike."""
        return self.service.by_hour is None and self.service.by_weekday is None

    @property
    def lengths(self) -> FloatArray:
        """Outage hours between which each part is straight."""
        return _LENGTHS_H

    def lost(self, hours: FloatArray) -> FloatArray:
        """(parts, n) service hours lost by outages of these lengths, each part as likely."""
        h = np.asarray(hours, dtype=np.float64)
        beyond = np.maximum(h - _LENGTHS_H[-1], 0.0) * self.share
        inside = np.stack([np.interp(h, _LENGTHS_H, part) for part in self.parts])
        return np.asarray(inside + beyond, dtype=np.float64)

    def longest(self, service_hours: float) -> float:
        """The outage hours at which every part has lost so many service hours."""
        return float(np.max(self._reached(np.array([service_hours]))[0]))

    def _reached(self, service_hours: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(parts, n): the longest outage that loses at most so much, and the index of its stretch."""
        last = len(_LENGTHS_H) - 1
        out = np.empty((_PARTS, len(service_hours)))
        at = np.empty((_PARTS, len(service_hours)))
        for j, part in enumerate(self.parts):
            i = np.searchsorted(part, service_hours, side="right") - 1
            after = np.minimum(i + 1, last)
            rise = part[after] - part[i]
            run = np.divide(service_hours - part[i], rise, out=np.zeros_like(service_hours), where=rise > 0)
            inside = _LENGTHS_H[i] + run * (_LENGTHS_H[after] - _LENGTHS_H[i])
            out[j] = np.where(i >= last, _LENGTHS_H[last] + (service_hours - part[last]) / self.share, inside)
            at[j] = np.minimum(i, last)
        return out, at


class InService:
    """The law of the service hours lost by outages whose elapsed hours follow another law.

    P(S > s) = mean over parts of P(D > d_j(s)), and E[min(S, s)] the sum of the parts' slopes times limited expected
    values of D: exact for the parts.
    """

    def __init__(self, law: RepairLaw, hours: ServiceHours) -> None:
        self._law, self._hours = law, hours
        at = hours.lengths
        self._limited = np.asarray(law.limited_mean(at), dtype=np.float64)
        rise = np.diff(hours.parts, axis=1) / np.diff(at)
        self._slope = np.concatenate([rise, np.full((_PARTS, 1), hours.share)], axis=1)
        area = np.cumsum(rise * np.diff(self._limited), axis=1)
        self._area = np.concatenate([np.zeros((_PARTS, 1)), area], axis=1)

    def survival(self, hours: FloatArray) -> FloatArray:
        s = np.atleast_1d(np.asarray(hours, dtype=np.float64))
        reached, _ = self._hours._reached(s)
        return np.asarray(np.mean(self._law.survival(reached), axis=0), dtype=np.float64)

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        s = np.atleast_1d(np.asarray(hours, dtype=np.float64))
        reached, index = self._hours._reached(s)
        k = index.astype(np.intp)
        j = np.arange(_PARTS)[:, None]
        beyond = self._slope[j, k] * (np.asarray(self._law.limited_mean(reached)) - self._limited[k])
        return np.asarray(np.mean(self._area[j, k] + beyond, axis=0), dtype=np.float64)
