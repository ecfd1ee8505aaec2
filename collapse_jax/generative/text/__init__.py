"""Rows of tokens: read by a transformer, and written by it."""
