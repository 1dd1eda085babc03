"""Beside the line: clients, profiles and migrations for outside stores. No rules live here."""
