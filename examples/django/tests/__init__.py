"""The example's tests."""
