"""What experiment scripts share: their command line, bounds of their settings, and populations that several train."""
