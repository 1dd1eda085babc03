"""Routes that a later stage adds to the app: this stage serves them and knows none of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

OPEN: Final = "open"
"""Key in a route's `opt`: it needs no token. True opens the route's paths, a text the paths that start with it."""


Lost = Callable[[str, Callable[[str], str | None]], tuple[int, Mapping[str, str], bytes] | None]
"""The page for an address that nobody knows: from the method and what gives a request's header, to status, headers
and body; None when there is no such page."""


def _no_page(method: str, ask: Callable[[str], str | None]) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class More:
    """`api` goes into the OpenAPI document as `described` says, `pages` do not.

    `described`: by path and method, the answer's shape (or the media type of a file) and the error statuses.
    `given`: values by the name under which the routes ask for them. `lost`: what a person sees at an unknown address.
    """

    api: Sequence[ControllerRouterHandler] = ()
    pages: Sequence[ControllerRouterHandler] = ()
    described: Mapping[tuple[str, str], tuple[Any, tuple[int, ...]]] = field(
        default_factory=dict[tuple[str, str], tuple[Any, tuple[int, ...]]]
    )
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lost: Lost = _no_page


@dataclass(frozen=True)
class Opened:
    """The paths that need no token: exact ones, and beginnings of paths."""

    paths: frozenset[str]
    beginnings: tuple[str, ...]

    def has(self, path: str) -> bool:
        """Whether a path, normalised as the router does it, needs no token."""
        return path in self.paths or path.startswith(self.beginnings)


def opened(app: Litestar) -> Opened:
    """What the routes of the application say of themselves; a route that says nothing needs the token."""
    paths: set[str] = set()
    beginnings: set[str] = set()
    for route in app.routes:
        said = {handler.opt.get(OPEN) for handler in _own(route)}
        beginning = next(iter(said)) if len(said) == 1 else None
        if isinstance(beginning, str):
            beginnings.add(beginning)
        elif beginning is True and "{" not in route.path:
            paths.add(route.path)
        elif beginning is True:
            beginnings.add(route.path[: route.path.index("{")])
    return Opened(frozenset(paths), tuple(sorted(beginnings)))


def _own(route: Any) -> list[Any]:
    """The route's handlers without the answer to OPTIONS that the framework adds to each."""
    return [handler for handler in getattr(route, "route_handlers", ()) if handler.http_methods != {"OPTIONS"}]


def provided(value: Any) -> Provide:
    """A dependency that is always this value."""
    return Provide(lambda: value, sync_to_thread=False)
