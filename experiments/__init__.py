"""One script for each claim; see README.md in this folder for the table."""
