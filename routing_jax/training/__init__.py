"""The training program and the loop around it."""
