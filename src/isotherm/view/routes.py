"""The routes of this stage: the dashboard, the SDK, the demo site, and pictures of maps."""

from typing import Final

from litestar import Response, route
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isotherm.config import Settings
from isotherm.serve.answer import AnyRequest
from isotherm.serve.more import OPEN, More
from isotherm.view.address import collector_url
from isotherm.view.api import DESCRIBED, InSdk, sdk_facts, thumbnail_png
from isotherm.view.dashboard import Dashboard
from isotherm.view.files import Reply
from isotherm.view.sdk import PATH, VERSIONED, Sdk, load_sdk, sdk_reply
from isotherm.view.site import Site, load_site

InDashboard = NamedDependency[Dashboard]
InSite = NamedDependency[Site]
InSettings = NamedDependency[Settings]

API: Final[list[ControllerRouterHandler]] = [sdk_facts, thumbnail_png]
_READ: Final = [HttpMethod.GET, HttpMethod.HEAD]
_VIEWS: Final = ["/", "/setup", "/system", "/c", "/c/{view:path}"]
"""The dashboard's own addresses: the page draws what they name."""


def more(settings: Settings) -> More:
    """All routes of this stage, with the files read and packed."""
    dashboard = Dashboard()
    given = {"dashboard": dashboard, "sdk": load_sdk(), "site": load_site(settings), "settings": settings}
    pages = [page, asset, *_root_files(dashboard), script, versioned_script, demo]
    return More(api=API, pages=pages, described=DESCRIBED, given=given, lost=dashboard.lost)


def described() -> More:
    """What of it goes into the OpenAPI document; reads no file."""
    return More(api=API, described=DESCRIBED, given={"sdk": None})


def _root_files(dashboard: Dashboard) -> list[ControllerRouterHandler]:
    paths = [f"/{name}" for name in dashboard.root_files()]
    if not paths:
        return []
    return [
        route(paths, http_method=_READ, sync_to_thread=False, include_in_schema=False, opt={OPEN: True})(_root_file)
    ]


def _root_file(request: AnyRequest, dashboard: InDashboard) -> Response[bytes]:
    """A file of the dashboard beside its page: the icon and the like."""
    return _answer(dashboard.asset(request.scope["path"].lstrip("/"), request.method, request.headers.get))


@route(_VIEWS, http_method=_READ, sync_to_thread=False, include_in_schema=False, opt={OPEN: True})
def page(request: AnyRequest, dashboard: InDashboard) -> Response[bytes]:
    """The dashboard's page."""
    return _answer(dashboard.page(request.method, request.headers.get))


@route("/assets/{name:path}", http_method=_READ, sync_to_thread=False, include_in_schema=False, opt={OPEN: True})
def asset(request: AnyRequest, dashboard: InDashboard, name: FromPath[str]) -> Response[bytes]:
    """A file of the dashboard."""
    return _answer(dashboard.asset(f"assets/{name.lstrip('/')}", request.method, request.headers.get))


@route(PATH, http_method=_READ, sync_to_thread=False, include_in_schema=False, opt={OPEN: True})
def script(request: AnyRequest, sdk: InSdk) -> Response[bytes]:
    """The browser SDK under its short name."""
    return _script(request, sdk)


@route("/{name:str}", http_method=_READ, sync_to_thread=False, include_in_schema=False, opt={OPEN: VERSIONED})
def versioned_script(request: AnyRequest, sdk: InSdk, name: FromPath[str]) -> Response[bytes]:
    """The browser SDK under its long-lived name; a word about it under a name of the past."""
    return _script(request, sdk)


def _script(request: AnyRequest, sdk: Sdk | None) -> Response[bytes]:
    reply = sdk_reply(sdk, request.scope["path"], request.method, request.headers.get)
    if reply is None:
        raise NotFoundException
    return _answer(reply)


@route(
    ["/demo", "/demo/{name:path}"], http_method=_READ, sync_to_thread=False, include_in_schema=False, opt={OPEN: True}
)
def demo(request: AnyRequest, site: InSite, settings: InSettings, name: FromPath[str] = "") -> Response[bytes]:
    """A page or file of the demo site."""
    # The router drops the slash at the end; relative links in a page need it.
    path = name + "/" * request.scope["raw_path"].endswith(b"/")
    collector = collector_url(settings, request.url.scheme, request.headers.get("host", ""))
    return _answer(site.reply(path, request.method, request.headers.get, collector))


def _answer(reply: Reply) -> Response[bytes]:
    return Response(reply.body, status_code=reply.status, headers=reply.headers)
