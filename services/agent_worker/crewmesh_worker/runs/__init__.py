"""A run's way through a worker: admission, lease, execution, log."""
