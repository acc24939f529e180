"""The devices of a policy as its events see them: who stands together, under which services, at what value."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itops.dependency import Service
from itops.fitted import Device
from itops.policy import BadTerms, PhysicalDamage
from itops.severity import FloatArray
from itops.submission import Submission


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Devices that one event can reach."""

    members: tuple[Device, ...]
    by_class: Mapping[str, int]
    inside: Mapping[str, tuple[int, int]]  #: by service: how many of its devices are among them, and how many it has

    def __len__(self) -> int:
        return len(self.members)


class Population:
    """Computed once for a fleet and used by every set of terms that is priced on it; only assets matter here, not
    their rates."""

    def __init__(self, submission: Submission, devices: Sequence[Device], services: Sequence[Service]) -> None:
        self.devices = tuple(devices)
        self._submission = submission
        ids = {device.asset.asset_id for device in devices}
        self._services_of: dict[str, list[str]] = defaultdict(list)
        self._size: dict[str, int] = {}
        for service in services:
            held = [one for one in service.assets if one in ids]
            self._size[service.name] = len(held)
            for one in held:
                self._services_of[one].append(service.name)
        self._scopes: dict[str, dict[str, Together]] = {}
        self._values: dict[tuple[str, float], dict[str, float]] = {}
        self._by_class: dict[tuple[str, float, str], tuple[FloatArray, FloatArray]] = {}
        self._at_site: dict[tuple[str, float, str], float] = {}
        #: device-years in force by (class, SLA tier)
        self.years_by_tier: dict[tuple[str, str | None], float] = {}
        for device in devices:
            key = (device.asset.device_class, device.asset.sla_tier)
            self.years_by_tier[key] = self.years_by_tier.get(key, 0.0) + device.years_in_force

    def together(self, members: Sequence[Device]) -> Together:
        """These devices as one group."""
        inside: dict[str, int] = defaultdict(int)
        if self._services_of:
            for device in members:
                for name in self._services_of.get(device.asset.asset_id, ()):
                    inside[name] += 1
        return Together(
            members=tuple(members),
            by_class=Counter(device.asset.device_class for device in members),
            inside={name: (n, self._size[name]) for name, n in inside.items()},
        )

    def scopes(self, scope: str) -> dict[str, Together]:
        """Groups that one shock of this scope can hit together, by name in order."""
        if scope not in self._scopes:
            self._scopes[scope] = self._grouped(scope)
        return self._scopes[scope]

    def _grouped(self, scope: str) -> dict[str, Together]:
        out: dict[str, list[Device]] = defaultdict(list)
        region_of = {site.site: site.region for site in self._submission.sites if site.region}
        for device in self.devices:
            if scope == "site":
                out[device.site].append(device)
            elif scope == "model" and device.asset.model:
                out[f"{device.asset.manufacturer or ''} {device.asset.model}".strip()].append(device)
            elif scope == "region":
                region = region_of.get(device.asset.site or "")
                if region:
                    out[region].append(device)
            elif scope == "fleet":
                out["fleet"].append(device)
        least = 2 if scope == "model" else 1
        return {name: self.together(members) for name, members in sorted(out.items()) if len(members) >= least}

    def values(self, cover: PhysicalDamage) -> Mapping[str, float]:
        """What a claim for each device is settled on. Raises BadTerms where a value is unknown."""
        key = (cover.valuation, cover.useful_life_years)
        if key not in self._values:
            out = {}
            for device in self.devices:
                value = device.asset.value
                if value is None or value <= 0:
                    told = "blank" if value is None else value
                    raise BadTerms(
                        f"fleet: asset {device.asset.asset_id!r}, value: is {told}; physical damage needs every "
                        "device's replacement cost, and blank is unknown, not zero"
                    )
                out[device.asset.asset_id] = cover.insured_value(float(value), device.age_years)
            self._values[key] = out
        return self._values[key]

    def values_of_class(self, cover: PhysicalDamage, device_class: str) -> tuple[FloatArray, FloatArray]:
        """(n,) settled values and years in force of a class's devices. Raises BadTerms."""
        key = (cover.valuation, cover.useful_life_years, device_class)
        if key not in self._by_class:
            values = self.values(cover)
            mine = [device for device in self.devices if device.asset.device_class == device_class]
            self._by_class[key] = (
                np.array([values[device.asset.asset_id] for device in mine], dtype=np.float64),
                np.array([device.years_in_force for device in mine], dtype=np.float64),
            )
        return self._by_class[key]

    def value_at(self, cover: PhysicalDamage, site: str) -> float:
        """Settled value of all devices of a site. Raises BadTerms."""
        key = (cover.valuation, cover.useful_life_years, site)
        if key not in self._at_site:
            values = self.values(cover)
            group = self.scopes("site").get(site)
            self._at_site[key] = sum(values[d.asset.asset_id] for d in group.members) if group else 0.0
        return self._at_site[key]
