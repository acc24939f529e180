"""Quotes on this machine: each kept in a file under TOCSIN_HOME, written once, so that it can be computed again."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from itops.underwrite import Priced


#: What computes a quote again.
_FIELDS = ("submission", "result", "inputs_sha256", "model_version")


class NotOnThisMachine(NotFound):
    """There is no quote of this id on this machine."""


def id_of(inputs_sha256: str, model_version: str) -> UUID:
    """The id of a quote that no database holds: the same inputs and model are the same quote."""
    return uuid5(NAMESPACE_URL, f"tocsin:quote:{model_version}:{inputs_sha256}")


def keep(folder: Path, priced: "Priced", result: dict[str, Any]) -> UUID:
    """Keeps a quote and its result under its id; one that is there already stays as it is."""
    quote = priced.quote
    quote_id = id_of(quote.inputs_sha256, quote.model_version)
    path = folder / f"{quote_id}.json"
    if path.exists():
        return quote_id
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "quote_id": str(quote_id),
        "model_version": quote.model_version,
        "inputs_sha256": quote.inputs_sha256,
        "submission": priced.inputs,
        "result": result,
    }
    half = path.with_suffix(".part")
    half.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    os.replace(half, path)
    path.chmod(0o444)
    return quote_id


def find(folder: Path, quote_id: UUID) -> dict[str, Any] | None:
    """The quote of this id, if it was made on this machine. Raises InvalidInput where its file cannot be read."""
    path = folder / f"{quote_id}.json"
    if not path.exists():
        return None
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    lost = [name for name in _FIELDS if not (isinstance(document, dict) and name in document)]
    if lost:
        raise InvalidInput(f"{path} does not hold a quote: {lost[0]} is missing")
    return dict(document)


def every(folder: Path) -> list[dict[str, Any]]:
    """All quotes kept on this machine, by id. Raises InvalidInput for a file among them whose name is no quote's id."""
    kept = []
    for path in sorted(folder.glob("*.json")):
        try:
            document = find(folder, UUID(path.stem))
        except ValueError as error:
            raise InvalidInput(f"{path} is not a kept quote: its name is no quote's id") from error
        if document is not None:
            kept.append(document)
    return kept
