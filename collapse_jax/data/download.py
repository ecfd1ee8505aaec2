"""Downloads that fail within seconds where the network is out of reach, and leave nothing half done."""

import http.client
import os
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ()

CONNECT_SECONDS = 5.0

_FAILURES = (OSError, http.client.HTTPException)


def downloads(data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder of downloads in TFDS's data folder: `data_dir`, else $TFDS_DATA_DIR, ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser() / "downloads"


def download(name: str, url: str, target: Path, *, advice: str, seconds: float = CONNECT_SECONDS) -> None:
    """Write what `url` holds to `target`, whole or not at all.

    Raises ConnectionError, which ends with `advice`, where there is no answer or no data for so many seconds.
    """
    # The name holds the process's number, since two processes may download at once.
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open(url, seconds) as response, partial.open("wb") as file:
            shutil.copyfileobj(response, file)
        # copyfileobj doesn't tell a connection that closed early from a complete one.
        if (size := response.headers["Content-Length"]) and int(size) != partial.stat().st_size:
            raise ConnectionError(f"received {partial.stat().st_size} of {size} bytes")
        partial.replace(target)
    except _FAILURES as error:
        partial.unlink(missing_ok=True)
        raise ConnectionError(f"could not download {name} from {url} ({error}); {advice}") from error


def _open(url: str, seconds: float) -> Any:
    """Return the open response within seconds; urlopen's own timeout does not cover the look-up of the host's name."""
    answer: list[Any] = []

    def connect() -> None:
        try:
            answer.append(urllib.request.urlopen(url, timeout=seconds))
        except _FAILURES as error:
            answer.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if isinstance(answer[0], _FAILURES):
        raise answer[0]
    return answer[0]
