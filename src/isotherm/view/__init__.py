"""Serves what people look at: the dashboard, the browser SDK, the demo site, and maps drawn as pictures."""
