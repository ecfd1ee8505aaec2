"""What every experiment script shares: its command line, its folder of results, and resuming by calling it again."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import xarray as xr
from jax.experimental.compilation_cache import compilation_cache
from matplotlib.figure import Figure

from collapse_jax.engine import to_tensorboard
from collapse_jax.io import results
from collapse_jax.io.files import write_atomically
from collapse_jax.packages import require
from experiments.shared.machine import cores


@dataclass(frozen=True)
class Options:
    """Where results go and how much is shown; none of it changes a result."""

    results: Path = Path("results")
    """Folder for results; each configuration has its own folder below it."""
    small: bool = False
    """Start from the small configuration, which finishes within a minute or so."""
    plot_only: bool = False
    """Redraw the figures and the table from saved results, without running anything."""
    progress: bool = True
    """Show a progress bar; without it a line is logged on stderr for every finished segment."""
    tensorboard: Path | None = None
    """Folder for curves that TensorBoard shows while the sweeps run; each sweep has its own folder below it."""
    data_dir: Path | None = None
    """Folder for prepared data sets, by default TFDS's own, ~/tensorflow_datasets."""
    distributed: bool = False
    """Join the processes that a launcher (Slurm, Cloud TPU, Kubernetes, Open MPI) started with this command."""


C = TypeVar("C", bound=Options)


@dataclass(frozen=True)
class Experiment(Generic[C]):
    """An experiment as its script declares it; to call it is to run its command.

    `config`, `small`, `run`, `draw`, `table` and `description` are as in `launch`. `summary` returns, in a line, what
    the table of all experiments says of a result; it is that of a run with the arguments `measured`.
    """

    name: str
    config: C
    small: Mapping[str, Any]
    run: Callable[[C, Path], xr.Dataset]
    draw: Callable[[xr.Dataset], Mapping[str, Figure]]
    table: Callable[[xr.Dataset], str]
    summary: Callable[[xr.Dataset], str]
    description: str
    measured: tuple[str, ...] = ()

    def __call__(self) -> None:
        """Run the command line."""
        launch(self.name, self.config, self.small, self.run, self.draw, self.told, description=self.description)

    def told(self, dataset: xr.Dataset) -> str:
        """Return what the command prints of a result: the table, and what it comes to."""
        return f"{self.table(dataset)}\n\nIn a line: {self.summary(dataset)}"

    def configured(self, arguments: Sequence[str]) -> C:
        """Return the configuration that arguments of the command line ask for."""
        return parse(self.config, self.small, self.description, arguments)


def script(
    module: str,
    file: str,
    config: C,
    small: Mapping[str, Any],
    run: Callable[[C, Path], xr.Dataset],
    draw: Callable[[xr.Dataset], Mapping[str, Figure]],
    table: Callable[[xr.Dataset], str],
    summary: Callable[[xr.Dataset], str],
    *,
    description: str,
    measured: tuple[str, ...] = (),
) -> Experiment[C]:
    """Return an experiment, and run it if its module is the one that Python was started on.

    `module` and `file` are the script's `__name__` and `__file__`, whose stem names the experiment; the rest as in
    `Experiment`. It is the last line of a script, since everything above it has to be there when it runs.
    """
    experiment = Experiment(
        Path(file).stem, config, small, run, draw, table, summary, description=description, measured=measured
    )
    if module == "__main__":
        experiment()
    return experiment


def launch(
    name: str,
    config: C,
    small: Mapping[str, Any],
    run: Callable[[C, Path], xr.Dataset],
    draw: Callable[[xr.Dataset], Mapping[str, Figure]],
    table: Callable[[xr.Dataset], str],
    *,
    description: str,
) -> None:
    """Run an experiment from the command line: parse, run or resume, save, draw and print.

    `config` holds the defaults, `small` what --small changes in them. `run(config, directory)` returns the results,
    and resumes from what an earlier call left in the directory; `draw` returns figures by file name. What is compiled
    is kept beside the results, so that a second start finds it (unless JAX was told of another folder).
    """
    usual = config
    try:
        config = parse(config, small, description, sys.argv[1:])
        _require_tensorboard(config.tensorboard)
        if not config.progress:
            _log_segments()
        use_all_cores()
        if config.distributed:
            jax.distributed.initialize()
        told = getattr(jax.config, "jax_compilation_cache_dir")  # noqa: B009
        with contextlib.nullcontext() if told else compiled_kept(config.results / ".compiled"):
            _run(name, config, usual, run, draw, table)
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        sys.exit(f"error: {_by_option(str(error), config)}")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last saved segment", file=sys.stderr)
        sys.exit(130)


def _by_option(message: str, config: Any) -> str:
    """Return a message that begins with the name of a setting with that of its option in its place.

    A message of the library names a field of its own, as `training.batch_size`, that often has the setting's name.
    """
    name, *rest = message.split(" ", 1)
    settings = list(_settings(config))
    same = [one for one in settings if one == name] or [
        one for one in settings if one.rpartition(".")[2] == name.rpartition(".")[2]
    ]
    return " ".join([f"--{same[0].replace('_', '-')}", *rest]) if rest and len(same) == 1 else message


def _settings(config: Any, within: str = "") -> Iterator[str]:
    """Yield the names of all settings, nested ones with those that they are part of."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _settings(value, f"{within}{field.name}.")
        else:
            yield f"{within}{field.name}"


def parse(config: C, small: Mapping[str, Any], description: str, arguments: Sequence[str]) -> C:
    """Return the configuration that a command line asks for: `config`, or with --small what that changes in it."""
    default = dataclasses.replace(config, **small) if "--small" in arguments else config
    tyro = require("tyro", "the command line of an experiment")
    parsed: C = tyro.cli(type(config), default=default, description=description, args=arguments)
    return parsed


def identity(config: Options) -> Any:
    """Return a record of what a result depends on: the configuration without the options."""
    options = {field.name for field in dataclasses.fields(Options)}
    own = {name: value for name, value in vars(config).items() if name not in options}
    return dataclasses.make_dataclass("Identity", list(own))(**own)


def _run(
    name: str,
    config: C,
    usual: C,
    run: Callable[[C, Path], xr.Dataset],
    draw: Callable[[xr.Dataset], Mapping[str, Figure]],
    table: Callable[[xr.Dataset], str],
) -> None:
    directory = results.folder(config.results, name, identity(config), create=False)
    if config.plot_only:
        dataset = results.load(directory)
    else:
        # Processes share the folder: where one of them is refused, so are the others.
        with results.nothing_left(directory):
            results.folder(config.results, name, identity(config))
            dataset = run(config, directory)
        if jax.process_index():
            return
        results.save(dataset, directory)
        results.enter(directory, _changed(identity(config), identity(usual)))
    for file, figure in draw(dataset).items():
        write_atomically(directory / file, partial(figure.savefig, dpi=150))
        print(f"figure: {directory / file}")
    print(f"results: {directory}\n")
    print(table(dataset))


def _changed(config: Any, usual: Any, within: str = "") -> dict[str, str]:
    """Return the settings of a configuration that aren't the usual ones, nested ones by their whole name."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(config):
        value, default = getattr(config, field.name), getattr(usual, field.name)
        if value == default:
            continue
        if dataclasses.is_dataclass(value):
            found |= _changed(value, default, f"{within}{field.name}.")
        else:
            found[f"{within}{field.name}"] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return found


def _require_tensorboard(folder: Path | None) -> None:
    """Raise what would otherwise be raised when the first segment of the first sweep is finished."""
    if folder is None:
        return
    require("tensorboardX", "--tensorboard")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--tensorboard is {folder}, which is a file; it must be a folder, or not exist yet")


def _log_segments() -> None:
    """Show on stderr what this library logs of its sweeps, and of others the warnings alone."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("collapse_jax").setLevel(logging.INFO)


def watched(config: Options, directory: Path) -> dict[str, Any]:
    """Return the options of a sweep that is saved in a directory and shown as the command line asks.

    Its curves for TensorBoard have a folder named like the directory, from the folder of all results on, so that other
    sweeps, configurations and scripts can use the same --tensorboard.
    """
    folder = config.tensorboard
    write = None if folder is None else to_tensorboard(folder / directory.relative_to(config.results))
    return {"directory": directory, "progress": config.progress, "on_segment": write}


@contextlib.contextmanager
def compiled_kept(folder: Path) -> Iterator[None]:
    """Keep compiled programs in a folder within this context, small ones too, and look for them there."""
    settings = {
        "jax_compilation_cache_dir": str(folder.absolute()),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX reads the folder's name once
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        # JAX would go on writing into a folder that may be removed.
        compilation_cache.reset_cache()


def use_all_cores() -> None:
    """Make a CPU offer one device for each core, so that members run on all of them; accelerators are unaffected.

    Does nothing once JAX has started, or where XLA_FLAGS says how many devices there are.
    """
    # A batched decomposition waits, in a thread of XLA's pool, for others of the pool: when every device does so at
    # once, and there are only as many threads as devices, all wait for ever (jaxlib 0.10.2). NPROC is the size of the
    # pool.
    os.environ.setdefault("NPROC", str(2 * (os.cpu_count() or 1)))
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", cores())
        except RuntimeError:
            return
