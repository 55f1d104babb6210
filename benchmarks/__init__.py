"""One script per performance claim; each prints JSON lines on standard output."""
