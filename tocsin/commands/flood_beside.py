"""Restoration, interruption and debris beside the damage of `tocsin flood`: what is asked for, and its columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import InvalidInput


@dataclass
class Beside:
    """What was asked for beside the repair, and what came of it."""

    which: str | None
    debris: bool
    cost_per_ton: float | None
    rows: list[Any] = field(default_factory=list)
    source: Any = None

    @classmethod
    def asked(cls, restoration: str | None, debris: bool, cost_per_ton: float | None) -> "Beside":
        """Checks the options; raises InvalidInput naming the one that is wrong."""
        from geo.restoration import check_which

        if cost_per_ton is not None and not debris:
            raise InvalidInput("--debris-cost-per-ton: needs --debris")
        if cost_per_ton is not None and not 0 < cost_per_ton < float("inf"):
            raise InvalidInput(f"--debris-cost-per-ton: {cost_per_ton:g} is no cost")
        which = None if restoration is None else check_which(restoration, "--restoration")
        return cls(which, debris, cost_per_ton)

    def compute(self, book: Sequence[Any], found: Sequence[Any]) -> None:
        """Looks the buildings up in the tables, where something was asked for."""
        if self.which is None and not self.debris:
            return
        from geo.flood_files import beside
        from geo.point_files import load_restoration

        table = load_restoration()
        self.source = table["publication"]
        self.rows = beside(book, found, table, self.which or "max")

    @property
    def header(self) -> tuple[str, ...]:
        """The further columns."""
        days = ("restoration_days_min", "restoration_days_max", "interruption_loss") if self.which else ()
        tons = ("debris_finishes_tons", "debris_structure_tons", "debris_foundation_tons") if self.debris else ()
        return (*days, *tons, *(("debris_removal_cost",) if self.cost_per_ton is not None else ()))

    def cells(self, row: int) -> tuple[str, ...]:
        """The further cells of a building."""
        from geo.point_files import cell

        if not self.rows:
            return ()
        one = self.rows[row]
        out: list[str] = []
        if self.which:
            out += [cell(one.days[0], 0), cell(one.days[1], 0), cell(one.interruption_loss, 2)]
        if self.debris:
            out += [cell(tons, 3) for tons in one.tons]
        if self.cost_per_ton is not None:
            out.append(cell(sum(one.tons) * self.cost_per_ton, 2))
        return tuple(out)

    def document(self) -> dict[str, Any]:
        """Sums for people and programs; what is unknown is counted and in no sum."""
        from math import isnan

        told: dict[str, Any] = {}
        if self.which:
            known = [r.interruption_loss for r in self.rows if not isnan(r.interruption_loss)]
            told["interruption"] = {
                "days": self.which, "loss": sum(known), "n_unknown": len(self.rows) - len(known), "source": self.source,
            }  # fmt: skip
        if self.debris:
            tons = [sum(r.tons) for r in self.rows if not isnan(sum(r.tons))]
            told["debris"] = {
                "short_tons": sum(tons), "n_unknown": len(self.rows) - len(tons), "cost_per_ton": self.cost_per_ton,
                "cost": None if self.cost_per_ton is None else sum(tons) * self.cost_per_ton, "source": self.source,
            }  # fmt: skip
        return told

    def lines(self) -> list[str]:
        """The same for people."""
        told = self.document()
        lines = []
        if (one := told.get("interruption")) is not None:
            lines.append(
                f"interruption by {one['days']} days: {one['loss']:,.0f}, {one['n_unknown']} buildings unknown"
            )
        if (one := told.get("debris")) is not None:
            cost = "" if one["cost"] is None else f", its removal {one['cost']:,.0f}"
            lines.append(f"debris: {one['short_tons']:,.0f} short tons{cost}, {one['n_unknown']} buildings unknown")
        return lines
