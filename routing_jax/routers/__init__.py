"""Routers: Flax modules that decide which block processes an example."""
