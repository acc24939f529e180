"""Which fits of other records a submission stands on, as they are sent, checked, and spelt among the inputs."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from itops.wire import STRICT, Text

#: By what a device finds its unit in a fit: a system may be a site, a model or a single asset.
UNITS: Final = ("site", "model", "manufacturer", "asset_id")
#: Versions of `tocsin fleet fit` and `tocsin repair fit` that can be read here.
FLEET_VERSION: Final = "fleet-2"
REPAIR_VERSION: Final = "repair-2"


class FleetFitIn(BaseModel):
    """A use of a model of `tocsin fleet fit`, as it is sent."""

    model_config = STRICT

    device_class: Text
    file: Text | None = None
    document: dict[str, Any] | None = None
    unit: Literal["site", "model", "manufacturer", "asset_id"] | None = None
    same_record: bool = False
    source: Literal["submission", "store"] = "submission"


class RepairFitIn(BaseModel):
    """A use of a fit of `tocsin repair fit`, as it is sent; without a class it is for all of them."""

    model_config = STRICT

    device_class: Text | None = None
    file: Text | None = None
    document: dict[str, Any] | None = None
    unit: Literal["site", "model", "manufacturer", "asset_id"] | None = None
    same_record: bool = False
    source: Literal["submission", "store"] = "submission"


class FitsIn(BaseModel):
    """Both kinds."""

    model_config = STRICT

    fleet: list[FleetFitIn] = Field(default_factory=list)
    repair: list[RepairFitIn] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FitUse:
    """One fit and the devices it is used for."""

    kind: str  #: "fleet" or "repair"
    device_class: str | None  #: None: every class that no other fit is named for
    unit: str | None  #: the device's attribute that names its unit (fleet) or site (repair) in the fit, as it was said
    same_record: bool  #: the fit was made from the incidents of this submission: they are not counted twice
    source: str  #: "submission" or "store"
    file: str | None = None
    document: Mapping[str, Any] | None = None  #: None until the file is read

    @property
    def version(self) -> str:
        return str((self.document or {}).get("model_version", ""))

    @property
    def shape(self) -> str:
        """Of the record it was fitted to: systems, spells, models; "repairs"."""
        return "repairs" if self.kind == "repair" else str((self.document or {}).get("shape", ""))

    @property
    def by(self) -> str:
        """The attribute by which a device finds its unit: as said, else as the record's shape has it."""
        default = {"models": "model", "spells": "asset_id"}.get(self.shape, "site")
        return self.unit or default

    @property
    def as_of(self) -> str | None:
        found = (self.document or {}).get("as_of")
        return None if found is None else str(found)[:10]

    @cached_property
    def sha256(self) -> str:
        """Of the document: sorted keys, no blanks."""
        return document_sha256(self.document or {})

    @property
    def record_sha256(self) -> str:
        """Of the record that it was fitted to."""
        return str((self.document or {}).get("inputs_sha256", ""))


def document_sha256(document: Mapping[str, Any]) -> str:
    """SHA-256 of a fit's document as JSON with sorted keys and no blanks."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def uses_of(wire: FitsIn) -> tuple[FitUse, ...]:
    """Both kinds in one order for every spelling."""
    out = [
        FitUse(
            kind=kind, device_class=item.device_class, unit=item.unit, same_record=item.same_record,
            source=item.source, file=item.file, document=None if item.document is None else floats(item.document),
        )
        for kind, items in (("fleet", wire.fleet), ("repair", wire.repair))
        for item in items
    ]  # fmt: skip
    return tuple(sorted(out, key=lambda use: (use.kind, use.device_class or "")))


def floats(value: Any) -> Any:
    """A decoded JSON value with plain numbers: a fit's document is array work, not money."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and "." not in str(value) else float(value)
    if isinstance(value, Mapping):
        return {str(name): floats(item) for name, item in value.items()}
    return [floats(item) for item in value] if isinstance(value, list | tuple) else value


def problems_of(uses: Sequence[FitUse], *, known_classes: Collection[str], as_of: date) -> list[tuple[str, str]]:
    """What is wrong, by field: unknown class, a class twice, no document, another version, an as-of day too late."""
    problems: list[tuple[str, str]] = []
    count = {"fleet": -1, "repair": -1}
    seen: set[tuple[str, str | None]] = set()
    for use in uses:
        count[use.kind] += 1
        at = f"fits.{use.kind}.{count[use.kind]}"
        if use.device_class is not None and use.device_class not in known_classes:
            known = ", ".join(sorted(known_classes))
            problems.append((f"{at}.device_class", f"{use.device_class!r} is not a known class; known are {known}"))
        if (use.kind, use.device_class) in seen:
            problems.append((f"{at}.device_class", f"{use.device_class or 'all classes'} has a fit already"))
        seen.add((use.kind, use.device_class))
        if use.document is None:
            if not use.file:
                problems.append((at, "needs file (written by `tocsin fleet fit` or `tocsin repair fit`) or document"))
            continue
        wanted = FLEET_VERSION if use.kind == "fleet" else REPAIR_VERSION
        if use.version != wanted:
            problems.append((f"{at}.document", f"is not a fit of `tocsin {use.kind} fit` of this version ({wanted})"))
        elif use.as_of is not None and date.fromisoformat(use.as_of) > _latest(use.kind, as_of):
            problems.append((f"{at}.document.as_of", f"{use.as_of} is after as_of {as_of}: it was not known then"))
    return problems


def _latest(kind: str, as_of: date) -> date:
    """A repair fit's as-of is the midnight that ends its day."""
    return date.fromordinal(as_of.toordinal() + (1 if kind == "repair" else 0))


def plain_uses(uses: Sequence[FitUse]) -> dict[str, Any]:
    """The fits among the canonical inputs: whole, so that a quote can be computed again."""
    out: dict[str, list[dict[str, Any]]] = {}
    for use in uses:
        item: dict[str, Any] = {
            "unit": use.by, "same_record": use.same_record, "source": use.source, "document": use.document,
        }  # fmt: skip
        if use.device_class is not None:
            item["device_class"] = use.device_class
        out.setdefault(use.kind, []).append(item)
    return out
