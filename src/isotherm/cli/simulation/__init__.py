"""Simulated visitors: who comes when (calendar), what a page offers (layout), what hands do (motion, visitor), and
what the SDK would have sent (wire). `isotherm simulate` and `isotherm demo` send it; nothing here opens a connection.
"""
