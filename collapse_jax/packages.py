"""Packages that only some functions need: imported when one of these is called, so that the others do without."""

import importlib
from types import ModuleType


def require(module: str, purpose: str) -> ModuleType:
    """Return the module, imported now.

    `purpose` begins the sentence of the error: ModuleNotFoundError, which names the package that is missing, the
    module's own or one that it imports in turn, and the command that installs it.

    >>> require("no_such_package", "a hand")
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: a hand needs the package no-such-package, which is not installed: pip install no-such-package
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        package = missing.replace("_", "-")
        raise ModuleNotFoundError(
            f"{purpose} needs the package {package}, which is not installed: pip install {package}", name=missing
        ) from error
