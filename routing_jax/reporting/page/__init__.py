"""The report page: runs and sweeps in one HTML file. Imports no JAX."""
