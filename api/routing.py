"""How a noun's router is made: under /v1, and named by its functions in the OpenAPI document."""

from fastapi import APIRouter
from fastapi.routing import APIRoute


def _name(route: APIRoute) -> str:
    return route.name


def noun(tag: str) -> APIRouter:
    """A router for the routes of one noun."""
    return APIRouter(prefix="/v1", tags=[tag], generate_unique_id_function=_name)
