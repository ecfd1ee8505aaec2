"""Reward collapse: utilities, the laws they lead to, and populations of reward models that obey them."""
