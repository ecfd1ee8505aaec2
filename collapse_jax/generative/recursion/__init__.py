"""The recursion of generators: regimes, plans of them, the pool of sources, and the process that trains and emits."""
