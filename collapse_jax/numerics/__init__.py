"""Arithmetic that every device does alike: sums over an index, and products of matrices in full precision."""
