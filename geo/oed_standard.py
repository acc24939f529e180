"""What the OED standard itself says of files: ods-tools behind one function. Needs the extra `oed`.

ods-tools (Oasis LMF, BSD-3) carries the schema of every OED version. It pulls pandas and follows its versions, so
nothing else here imports it; our own reader needs none of it and goes further by rows and sums.
"""

import contextlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, Unavailable


class OedExtraMissing(Unavailable):
    """The standard's own check needs the package ods-tools; install the extra: tocsin[oed]."""


class BadForOds(InvalidInput):
    """ods-tools cannot read these files."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint of the standard's validator."""

    check: str  #: name of the file's kind or of the rule
    message: str

    def as_json(self) -> dict[str, str]:
        return {"check": self.check, "message": self.message}


#: Rules that look at the content of fields; whether a file may stand alone is the caller's decision.
_RULES = (
    "required_fields", "unknown_column", "valid_values", "perils", "occupancy_code", "construction_code",
    "country_and_area_code", "conditional_requirement", "dates",
)  # fmt: skip


def standard_findings(files: Mapping[str, Path]) -> tuple[str, list[Finding]]:
    """(OED version, complaints) for files by kind: location, account, ri_info, ri_scope.

    Raises OedExtraMissing, BadForOds.
    """
    try:
        from ods_tools.oed import OdsException, OedExposure
        from ods_tools.oed import validator as rules
    except ImportError as error:
        raise OedExtraMissing from error
    logging.getLogger("ods_tools").setLevel(logging.ERROR)
    config = [{"name": name, "on_error": "return"} for name in _RULES if hasattr(rules.Validator, f"check_{name}")]
    # its progress bars and warnings would mix with ours
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            exposure = OedExposure(**{kind: str(path) for kind, path in files.items()}, check_oed=False)
            raw: list[dict[str, Any]] = exposure.check(config)
        except OdsException as error:
            raise BadForOds(f"ods-tools: {error}") from error
        except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
            raise BadForOds(f"ods-tools: {type(error).__name__}: {error}") from error
        version = str(getattr(exposure.oed_schema, "schema", {}).get("version", "unknown"))
    return version, [Finding(str(one.get("name")), " ".join(str(one.get("msg")).split())) for one in raw]
