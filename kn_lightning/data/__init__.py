"""Prompt groups: read from a source, encoded, packed, and served as DataModules."""
