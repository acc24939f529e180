"""Which problems an operation may answer with, for the OpenAPI document."""

from typing import Any

from api.schemas.common import Problem

_TEXT = {
    401: "No valid session, key or link.",
    403: "The role does not allow it.",
    404: "There is no such thing, or it is not yours.",
    408: "The body did not arrive in time.",
    409: "It changed meanwhile, or the idempotency key is in use.",
    413: "The body is too large.",
    422: "A field is wrong; `errors` names it.",
    429: "Too many tries; see Retry-After.",
    503: "A part that is needed does not answer.",
}


def problems(*status: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these problems beside 422 and 503, which any may answer with."""
    return {
        code: {"model": Problem, "description": _TEXT[code], "content": {"application/problem+json": {}}}
        for code in sorted({*status, 422, 503})
    }


READ = problems(401, 403)
READ_ONE = problems(401, 403, 404)
ACT = problems(401, 403, 404, 408, 409, 413)
