"""`python -m tests.fuzz`."""

from tests.fuzz.command import command

if __name__ == "__main__":
    command()
