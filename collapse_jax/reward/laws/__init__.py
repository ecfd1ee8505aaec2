"""Laws of reward collapse: the exact optimum of a ranking objective for n items, and its limit for many."""
