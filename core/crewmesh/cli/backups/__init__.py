"""Backups of an embedded mesh: one file with the database, the objects and the owner's key.

The file is a zip. Its last entry is a manifest that says what the others are.
"""
