"""A set of rules on past quotes: what it would have done, beside what was done."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from itops import rules


def dry_run(candidate: Mapping[str, Any], quotes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each quote (`quote_id`, `result`) judged by the candidate rules from the facts that were stored with it.

    The facts are those of then: only the rules change. A fact that an old quote did not store is unknown.
    Raises BadRules.
    """
    rules.check_rules(candidate)
    out = []
    for quote in quotes:
        result = quote["result"]
        facts = result.get("facts", {})
        fired = rules.evaluate(candidate, facts, date.fromisoformat(result["as_of"]))
        would_be = rules.decision(fired)
        was = result.get("decision", "unknown")
        out.append(
            {
                "quote_id": str(quote["quote_id"]),
                "insured": result["insured"],
                "was": was,
                "would_be": would_be,
                "changed": was != would_be,
                "fired": [item.rule for item in fired if item.state == "fired"],
                "unknown": [item.rule for item in fired if item.state == "unknown"],
                "rules_then": result.get("versions", {}).get("rules", "unknown"),
            }
        )
    return {
        "version": candidate["version"],
        "n_quotes": len(out),
        "n_changed": sum(item["changed"] for item in out),
        "quotes": out,
    }
