"""1. The collector: HTTP in, durable records on the event log out. `steps.py` lists what a request goes through."""
