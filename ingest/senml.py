"""SenML packs (RFC 8428): base fields resolved, record by record.

Only what an observation needs is interpreted; every rule that makes a whole pack unusable is checked (section 4.4):
a label ending in `_` that is not understood, a newer version, a name outside the allowed characters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import InvalidInput

#: RFC 8428 section 4.2: a time below this is counted from now.
RELATIVE_BELOW_S = float(2**28)

#: RFC 8428 section 10: the version this resolver understands.
VERSION = 10

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")

_NUMBERS = ("bt", "bv", "bs", "bver", "v", "s", "t", "ut")
_TEXTS = ("bn", "bu", "n", "u", "vs", "vd")
_KNOWN = frozenset((*_NUMBERS, *_TEXTS, "vb"))


def is_name(name: str) -> bool:
    """Whether a resolved name holds only what RFC 8428 section 4.5.1 allows."""
    return _NAME.fullmatch(name) is not None


class BadPack(InvalidInput):
    """This is not a SenML pack."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """One resolved record: absolute time, full name, no base fields (RFC 8428 section 4.6)."""

    name: str
    unit: str | None
    time_s: float  #: seconds since 1970
    value: float | None  #: none: the record carries a string, a boolean, bytes or a sum only
    other: Mapping[str, object]  #: vs, vb, vd, s, ut as they came


def resolve(pack: Sequence[Mapping[str, object]], now_s: float) -> list[Resolved]:
    """The records of a pack with base fields applied; raises BadPack.

    Parameters
    ----------
    pack : the array's objects; numbers as float or int
    now_s : seconds since 1970 that relative times count from (the arrival)
    """
    if not pack:
        raise BadPack("The pack is empty.")
    base_name, base_time, base_unit, base_value, base_sum = "", 0.0, None, 0.0, 0.0
    has_base_value = has_base_sum = False
    version: float | None = None
    records = []
    for i, record in enumerate(pack):
        get = record.get
        for label, content in record.items():
            if label in _KNOWN:
                kind: type | tuple[type, ...] = (int, float) if label in _NUMBERS else bool if label == "vb" else str
                if not isinstance(content, kind) or (label in _NUMBERS and isinstance(content, bool)):
                    raise BadPack("A field has the wrong type.", record=i, field=label)
            elif label.endswith("_"):
                raise BadPack("A field that must be understood is not.", record=i, field=label[:40])
        if "bver" in record:
            bver = float(get("bver"))  # type: ignore[arg-type]
            if bver > VERSION or bver < 1 or bver != int(bver) or (version is not None and bver != version):
                raise BadPack("This SenML version is not understood.", record=i, bver=bver)
            version = bver
        if "bn" in record:
            base_name = str(get("bn"))
        if "bt" in record:
            base_time = float(get("bt"))  # type: ignore[arg-type]
        if "bu" in record:
            base_unit = str(get("bu"))
        if "bv" in record:
            base_value, has_base_value = float(get("bv")), True  # type: ignore[arg-type]
        if "bs" in record:
            base_sum, has_base_sum = float(get("bs")), True  # type: ignore[arg-type]
        name = base_name + str(get("n", ""))
        if not _NAME.fullmatch(name):
            raise BadPack("A name must start with a letter or digit and hold only A-Z a-z 0-9 - : . / _", record=i)
        time_s = base_time + float(get("t", 0.0))  # type: ignore[arg-type]
        if -RELATIVE_BELOW_S < time_s < RELATIVE_BELOW_S:
            time_s += now_s
        value: float | None = None
        other = {label: record[label] for label in ("vs", "vb", "vd", "ut") if label in record}
        given = ("v" in record) + ("vs" in record) + ("vb" in record) + ("vd" in record)
        if given > 1:
            raise BadPack("A record carries more than one value.", record=i)
        if "v" in record:
            value = base_value + float(get("v"))  # type: ignore[arg-type]
        elif not given and has_base_value:
            value = base_value
        if "s" in record or has_base_sum:
            other["s"] = base_sum + float(get("s", 0.0))  # type: ignore[arg-type]
        if value is None and not given and "s" not in other:
            if len(record) > 0 and not any(label in record for label in ("n", "t", "u", "ut")):
                continue  # RFC 8428 section 4.1 lets a record hold base fields alone
            raise BadPack("A record has neither a value nor a sum.", record=i)
        records.append(Resolved(name, str(get("u")) if "u" in record else base_unit, time_s, value, other))
    if not records:
        raise BadPack("The pack has base fields only.")
    return records
