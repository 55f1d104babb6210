"""What a run tells its user: the live line, metrics, results, tables, figures. Imports no JAX."""
