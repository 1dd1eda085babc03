"""Refusals before anything starts: what must not stand open to a network."""

from isotherm.config import Settings, is_loopback
from isotherm.errors import ConfigError


def check_exposure(settings: Settings, *, app: bool, collector: bool) -> None:
    """Raise ConfigError when a server would listen beyond this machine without the setting that guards it."""
    if app and not is_loopback(settings.host) and not settings.token:
        raise ConfigError(
            f"host: {settings.host} can be reached from other machines, so the app needs a token. Set `token` "
            "(ISOTHERM_TOKEN, a long random text), or keep host = 127.0.0.1."
        )
    if collector and not is_loopback(settings.collect_host) and not settings.clients:
        raise ConfigError(
            f"collect_host: {settings.collect_host} can be reached from other machines, so the collector needs to "
            "know who may send. Set `clients` (ISOTHERM_CLIENTS=shop,blog or --clients shop,blog), or keep "
            "collect_host = 127.0.0.1."
        )
