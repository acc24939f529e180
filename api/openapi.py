"""The OpenAPI document: what the front end's client is generated from, kept in web/openapi.json."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api import policy
from api.version import VERSION

_DESCRIPTION = """Everything is JSON; places are GeoJSON in EPSG:4326 with longitude first; times are RFC 3339 in UTC.
Errors are problem+json (RFC 9457). Money is an exact decimal string. Null is unknown, never zero.
POSTs that act take an `Idempotency-Key` header: the same key and body give the first answer again."""

_SCHEMES = {
    "session": {"type": "apiKey", "in": "cookie", "name": "tocsin_session", "description": "From POST /v1/session."},
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, for machines."},
    "link": {"type": "http", "scheme": "bearer", "description": "The signed link token of a message; also as ?t=."},
}

_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 8, "maxLength": 200},
    "description": "Yours to choose; the same key and body give the first answer again.",
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title="Tocsin", version=VERSION, description=_DESCRIPTION, routes=app.routes)
        made["components"]["securitySchemes"] = _SCHEMES
        for route in app.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                pair = policy.declared(route)
                assert pair is not None, route.path
                for method in route.methods or ():
                    _mark(made["paths"][route.path][method.lower()], pair, policy.POLICY[pair])
        app.openapi_schema = made
    return app.openapi_schema


def _mark(operation: dict[str, Any], pair: tuple[str, str], who: frozenset[str]) -> None:
    operation["x-policy"] = " ".join(pair)
    for code, answer in operation["responses"].items():
        if code >= "400" and "application/problem+json" in answer.get("content", {}):
            answer["content"] = {"application/problem+json": answer["content"]["application/json"]}
    operation["x-roles"] = sorted(who)
    if policy.ANYONE in who:
        operation["security"] = []
    elif who == {policy.POLICYHOLDER}:
        operation["security"] = [{"link": []}]
    else:
        operation["security"] = [
            {"session": []},
            *([{"key": []}] if who & policy.KEY_ROLES and pair not in policy.PERSONS_ONLY else []),
        ]
        if "409" in operation["responses"]:
            operation.setdefault("parameters", []).append(_KEY_HEADER)


def text(app: FastAPI) -> str:
    """The document as web/openapi.json holds it."""
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"
