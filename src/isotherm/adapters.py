"""Adapters are chosen by the scheme of a URL; none is imported before it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any, Literal

from isotherm.config import Store, without_password
from isotherm.errors import ConfigError

Adapters = Mapping[str, tuple[str, str]]
"""URL scheme -> (import path `module:name` of the opener, the extra of our package that it needs, or "")."""


def adapter(store: Store | Literal["engine", "stream", "scan"], url: str, known: Adapters) -> Any:
    """The opener for this URL, or bare scheme, of the setting `store`.

    Raises ConfigError for an unknown scheme, naming the known ones, and for a package that is not installed, naming
    the extra.
    """
    scheme = url.partition(":")[0]
    if scheme not in known:
        raise ConfigError(
            f"{store}: unknown scheme {scheme!r} in {without_password(url)!r}; known: {', '.join(sorted(known))}"
        )
    path, extra = known[scheme]
    module, _, name = path.partition(":")
    try:
        return attrgetter(name)(import_module(module))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "isotherm":
            raise
        advice = f"pip install 'isotherm[{extra}]'" if extra else "install isotherm again"
        raise ConfigError(
            f"{store}: {scheme}:// needs the package {error.name}, which is not installed; {advice}"
        ) from None
