"""Isotherm: exact, complete heatmaps of how people use a screen, on your own machine."""

__version__ = "0.1.0"
