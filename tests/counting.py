"""Reads metrics as Prometheus does: from the text that a process answers."""

from prometheus_client.parser import text_string_to_metric_families

from isotherm.metrics import render

OUTCOMES = ("received", "sent", "failed", "dropped")
Four = tuple[float, float, float, float]


def components(text: str) -> dict[str, dict[str, float]]:
    """The counts of every component that a scrape tells of, by outcome."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "isotherm_component_events":
            for sample in family.samples:
                found.setdefault(sample.labels["component"], {})[sample.labels["outcome"]] = sample.value
    return found


class Counting:
    """What a component of this process counts from now on: received, sent, failed, dropped."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._before = self._now()

    def _now(self) -> Four:
        found = components(render().decode()).get(self._component, {})
        received, sent, failed, dropped = (found.get(outcome, 0.0) for outcome in OUTCOMES)
        return received, sent, failed, dropped

    def found(self) -> Four:
        received, sent, failed, dropped = (now - before for now, before in zip(self._now(), self._before, strict=True))
        return received, sent, failed, dropped
