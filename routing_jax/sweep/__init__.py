"""Sweeps: a grid of configurations, trained as few compiled programs."""
