"""What a tenant calls the four levels: CAP severity, local stages, names by language. Pure; the store has versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from alerts.level import CAP_SEVERITY, LEVELS, OFFICIAL_STAGES, Level, UnknownLevel, level
from core.errors import InvalidInput

#: CAP 1.2 severities, mildest first; `Unknown` is no level.
SEVERITIES = ("Minor", "Moderate", "Severe", "Extreme")


class BadScheme(InvalidInput):
    """A table of levels is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelScheme:
    """One version of a tenant's table."""

    version: int = 0  #: 0: nobody has set one, the common table holds
    severity: Mapping[Level, str] = field(default_factory=lambda: dict(CAP_SEVERITY))
    stages: Mapping[str, Level] = field(default_factory=lambda: dict(OFFICIAL_STAGES))
    names: Mapping[Level, Mapping[str, str]] = field(default_factory=dict)  #: level -> language -> what it is called

    def level_of_severity(self, severity: str) -> Level | None:
        """The lowest level of this CAP severity; None where the message does not know, or no level has it."""
        return next((one for one in LEVELS if self.severity[one] == severity), None)


def read_scheme(told: Mapping[str, Any] | None, version: int = 0) -> LevelScheme:
    """The table that a tenant wrote; what it leaves out is the common one's. Raises BadScheme naming the field."""
    if told is None:
        return LevelScheme()
    unknown = sorted(set(told) - {"severity", "stages", "names"})
    if unknown:
        raise BadScheme(f"unknown field {unknown[0]!r}")
    for name in ("severity", "stages", "names"):
        if not isinstance(told.get(name, {}), Mapping):
            raise BadScheme(f"{name}: must be an object")
    try:
        severity = dict(CAP_SEVERITY) | {level(word): str(said) for word, said in told.get("severity", {}).items()}
        stages = dict(OFFICIAL_STAGES) | {
            str(stage): level(str(word)) for stage, word in told.get("stages", {}).items()
        }
        names = {level(word): dict(by_language) for word, by_language in told.get("names", {}).items()}
    except (UnknownLevel, TypeError, ValueError) as error:
        raise BadScheme(str(error)) from error
    for one in (*severity, *stages.values(), *names):
        if one is Level.NONE:
            raise BadScheme("the level 'none' has no severity, stage or name")
    for one in LEVELS:
        if severity[one] not in SEVERITIES:
            raise BadScheme(f"severity: {one.word}: must be one of {', '.join(SEVERITIES)}, is {severity[one]!r}")
    if any(SEVERITIES.index(severity[low]) > SEVERITIES.index(severity[high]) for low, high in pairwise(LEVELS)):
        raise BadScheme("severity: must not fall as the level rises")
    for one, by_language in names.items():
        if not all(isinstance(name, str) and name.strip() for name in by_language.values()):
            raise BadScheme(f"names: {one.word}: must be an object of language and name")
    return LevelScheme(version=version, severity=severity, stages=stages, names=names)


def scheme_json(scheme: LevelScheme) -> dict[str, Any]:
    """The table as JSON values, in full."""
    return {
        "severity": {one.word: scheme.severity[one] for one in LEVELS},
        "stages": {stage: one.word for stage, one in sorted(scheme.stages.items())},
        "names": {one.word: dict(names) for one, names in sorted(scheme.names.items())},
    }
