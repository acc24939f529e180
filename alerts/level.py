"""Warning levels: the four colours, what CAP calls them, and the names officials use.

Colours and numbers follow the Chinese national scale (IV blue general, III yellow larger, II orange major, I red
exceptionally major); the pairing with CAP 1.2 severity is the usual one of national services that publish both.
"""

from enum import IntEnum

from core.errors import InvalidInput


class UnknownLevel(InvalidInput):
    """This is no warning level."""


class Level(IntEnum):
    """How bad it is; a higher number is worse, and `NONE` is no warning."""

    NONE = 0
    BLUE = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4

    @property
    def word(self) -> str:
        """The name that tables, JSON and pages use: none, blue, yellow, orange, red."""
        return self.name.lower()


#: Every level at which something is said, lowest first.
LEVELS = (Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED)

#: CAP 1.2 severity of each level.
CAP_SEVERITY = {Level.BLUE: "Minor", Level.YELLOW: "Moderate", Level.ORANGE: "Severe", Level.RED: "Extreme"}

#: Names of stages that officials use, by country of use, and the level each means.
OFFICIAL_STAGES: dict[str, Level] = {
    # Sri Lanka, Disaster Management Centre: river water levels
    "alert": Level.YELLOW,
    "minor": Level.ORANGE,
    "major": Level.RED,
    # China: grades in the text of a warning
    "IV": Level.BLUE,
    "III": Level.YELLOW,
    "II": Level.ORANGE,
    "I": Level.RED,
    # United States, National Weather Service: flood categories (their minor and major are not Sri Lanka's)
    "nws_action": Level.BLUE,
    "nws_minor": Level.YELLOW,
    "nws_moderate": Level.ORANGE,
    "nws_major": Level.RED,
}


def level(word: str) -> Level:
    """The level of this name; raises UnknownLevel."""
    try:
        return Level[word.upper()]
    except KeyError:
        raise UnknownLevel(level=word, known=[one.word for one in Level]) from None


def level_of_stage(stage: str) -> Level:
    """The level that an official stage means; raises UnknownLevel."""
    found = OFFICIAL_STAGES.get(stage)
    if found is None:
        raise UnknownLevel(stage=stage, known=sorted(OFFICIAL_STAGES))
    return found


def level_of_severity(severity: str) -> Level | None:
    """The level of a CAP severity, or None where the message does not know (`Unknown`): then nobody may assume one."""
    for one, name in CAP_SEVERITY.items():
        if name == severity:
            return one
    if severity == "Unknown":
        return None
    raise UnknownLevel(severity=severity, known=[*CAP_SEVERITY.values(), "Unknown"])
