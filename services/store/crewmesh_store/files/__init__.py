"""Datasets and artifacts."""
