"""One root, and a kind of error for each thing a caller can do next.

A specific error lives beside the code that raises it, derives from one of these kinds, and carries the facts as
attributes; its docstring is the default message. Errors know nothing of HTTP or exit codes: the doors map kinds.
"""

from typing import Any


class TocsinError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        self.facts = facts
        doc = (type(self).__doc__ or "").strip().splitlines()
        self.message = message or (doc[0] if doc else type(self).__name__)
        super().__init__(self.message)

    def __str__(self) -> str:
        if not self.facts:
            return self.message
        told = ", ".join(f"{name}={value!r}" for name, value in self.facts.items())
        return f"{self.message} ({told})"


class InvalidInput(TocsinError):
    """The input is wrong; mend it and try again."""


class NotFound(TocsinError):
    """There is no such thing, or it is not yours."""


class NotPermitted(TocsinError):
    """You may not do this."""


class Conflict(TocsinError):
    """It changed meanwhile; reload and decide again."""


class Unavailable(TocsinError):
    """A part that is needed does not answer; try again later."""
