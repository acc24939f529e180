"""Rules of warning, proposals, silences and tables of levels."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from api.schemas.common import In, Out

WarningLevel = Literal["blue", "yellow", "orange", "red"]
#: A rule as a rule file has it: docs/howto/rules.md. Its fields are checked by the rule itself.
RuleTold = Annotated[dict[str, Any], Field(max_length=60)]


class RuleOut(Out):
    """One version of a rule."""

    rule_id: UUID
    code: str
    version: int
    kind: str = Field(description="level (a gauge), footprint, or bulletin.")
    station: str | None = Field(description="Code of the station; none where the rule looks at no gauge.")
    definition: dict[str, Any]
    has_area: bool = Field(description="False for a gauge's rule: nobody can be warned, and every draft is held.")
    area_desc: dict[str, str]
    effective_from: datetime
    effective_to: datetime | None
    phase: str | None = Field(description="Where its warning stands; none where it is not in force, or has no gauge.")
    level: str | None


class RuleVersion(RuleOut):
    """One version of a rule in full."""

    told: dict[str, Any] = Field(description="The rule as a rule file has it: changed, it can be tried and kept.")
    dry_run: dict[str, Any] | None = Field(description="What it would have said, where it was proposed with that.")
    proposed_by_login: str | None = Field(description="None: no second person was needed, or it came by command.")
    agreed_by_login: str | None


class RuleIn(In):
    """A rule to keep or to try."""

    rule: RuleTold
    days: float = Field(default=7.0, gt=0, le=90, description="On how many of the last days it is tried first.")


class RuleKept(Out):
    """What became of a rule."""

    code: str
    state: Literal["in_force", "proposed", "rejected"]
    version: int | None
    effective_from: datetime | None
    proposal_id: UUID | None = Field(description="Set where a second person must agree: it would release by itself.")
    content_sha256: str | None
    dry_run: dict[str, Any] | None = Field(description="What it would have said of the last days.")


class RuleTried(Out):
    """What a rule would have said, beside the one that stands."""

    rehearsed: bool
    days: float
    until: datetime
    n_readings: int | None = Field(
        None,
        description="What it was tried on: readings, or for a rule without a gauge footprint versions or bulletins.",
    )
    n_people: int | None = Field(default=None, description="People in its area today; none: it has no area of its own.")
    new: dict[str, Any] | None
    standing: dict[str, Any] | None


class ProposalOut(Out):
    """A rule that waits, or waited, for a second person."""

    proposal_id: UUID
    code: str
    told: dict[str, Any]
    content_sha256: str
    state: Literal["proposed", "approved", "rejected"]
    effective_from: datetime | None
    dry_run: dict[str, Any] | None
    proposed_by: UUID
    proposed_by_login: str
    proposed_at: datetime
    decided_by: UUID | None
    decided_at: datetime | None
    why: str
    version: int | None


class ProposalAgreed(In):
    """Agreement to exactly the rule that was read."""

    content_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Why(In):
    """A reason that is kept."""

    reason: str = Field(min_length=3, max_length=500)


class RuleRetired(Out):
    """A rule that judges nothing new."""

    code: str
    version: int


class SilenceIn(In):
    """What is not to be said for a while."""

    rule_code: str | None = Field(default=None, min_length=1, max_length=200, description="This rule alone.")
    peril: str | None = Field(default=None, min_length=1, max_length=50, description="Every rule of this hazard.")
    up_to: WarningLevel = "yellow"
    starts_at: AwareDatetime | None = Field(default=None, description="None: at once.")
    ends_at: AwareDatetime
    reason: str = Field(min_length=3, max_length=500)

    @model_validator(mode="after")
    def _one_of_them(self) -> "SilenceIn":
        if (self.rule_code is None) == (self.peril is None):
            raise ValueError("give rule_code or peril: what is silenced?")
        return self


class SilenceOut(Out):
    """A silence, and who stands for it."""

    silence_id: UUID
    rule_code: str | None
    peril: str | None
    up_to: WarningLevel
    ceiling: WarningLevel = Field(description="The highest level that it holds back now: red needs two people.")
    starts_at: datetime
    ends_at: datetime
    author: UUID
    author_login: str
    reason: str
    second: UUID | None
    second_login: str | None
    ended_at: datetime | None


class LevelSchemeIn(In):
    """What a tenant calls the levels; what is left out is the common one's."""

    severity: dict[WarningLevel, Literal["Minor", "Moderate", "Severe", "Extreme"]] = Field(default_factory=dict)
    stages: dict[str, WarningLevel] = Field(default_factory=dict, max_length=50)
    names: dict[WarningLevel, dict[str, str]] = Field(default_factory=dict)


class LevelSchemeOut(Out):
    """The table in full."""

    version: int = Field(description="0: the tenant has set none.")
    severity: dict[str, str]
    stages: dict[str, str]
    names: dict[str, dict[str, str]]
