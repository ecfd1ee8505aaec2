"""The tests, a file a module; `python -m tests.faults` and `python -m tests.fuzz` run the long searches."""
