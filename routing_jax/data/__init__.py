"""Data sets, task construction and batches drawn on the device."""
