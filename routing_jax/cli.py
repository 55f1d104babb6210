"""The command line: from arguments to a checked command. Imports no JAX, so errors come at once."""

import contextlib
import dataclasses
import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from routing_jax import added_tasks, experiment
from routing_jax import config as config_lib
from routing_jax.config_fields import FIELDS
from routing_jax.devices import Devices, define_flags, read_devices
from routing_jax.errors import UserError
from routing_jax.reporting.page import request as page
from routing_jax.sweep import axes
from routing_jax.sweep.plan import make_cells
from routing_jax.sweep.request import Slurm, Sweep, require_slurm
from routing_jax.workdir import Workdir

MODES = ("train", "evaluate", "add_task", "export", "report")
HELP_FLAGS = ("--help", "-help", "-h")

_OVERRIDE = re.compile(r"--?(?:no)?config\.(?P<field>[^=]+)")


@dataclasses.dataclass(frozen=True)
class Command:
    """What the command line asks for, checked.

    Attributes:
        launch: The program and its experiment, or the run it starts from, as the command names
            them.
        mode: "train", also where tasks are added to a trained network; "evaluate" or "export".
        config: The resolved and validated configuration, locked.
        workdir: Where the run is or will be.
        overwrite: Whether an earlier run in the work directory makes way.
        sweep: The grid to train; None for a single run.
        task: Which task's network to export: its number, or "all".
        devices: What it runs on.
    """

    launch: tuple[str, ...]
    mode: str
    config: ml_collections.ConfigDict
    workdir: Workdir
    overwrite: bool
    sweep: Sweep | None = None
    task: str = "all"
    devices: Devices = Devices()

    @contextlib.contextmanager
    def settled_workdir(self) -> Iterator[None]:
        """Claims the work directory for training, or checks that it holds the run that is read.

        During the block no other process trains there; one may be training while this reads.

        Raises:
            UserError: The directory cannot be used; nothing in it was changed.
        """
        if self.mode != "train":
            self.workdir.verify(self.config)
            yield
            return
        with self.workdir.held():
            self.workdir.claim(self.config, overwrite=self.overwrite)
            yield


def parse(argv: Sequence[str]) -> Command | page.Request:
    """Reads the command line and validates the configuration it names.

    Args:
        argv: Program name and arguments, as in `sys.argv`.

    Returns:
        What to train, evaluate or export; the page to write where a report is asked for.
        Adding tasks is training, with the configuration of the trained run for a start.

    Raises:
        UserError: Anything about the arguments or the configuration is wrong.
    """
    settings, rest = _parse_settings(argv)
    if settings.mode == "report":
        return page.read_request(settings, rest)
    workdir = _given_workdir(settings)
    source, adding = settings.config, settings.mode == "add_task"
    launch = [argv[0], *([] if source is None else [f"--config={source}"])]
    if adding:
        place = settings["from"].value
        config = added_tasks.config_asked_for(place, source=source, workdir=workdir)
        launch += ["--mode=add_task", f"--from={place}"]
    elif source is not None:
        config = experiment.load_config(source, _experiments_dir(argv[0]))
    elif settings.mode != "train" and workdir is not None:
        config = workdir.read_config()
    else:
        raise UserError(_missing_config(settings.mode, _experiments_dir(argv[0])))
    given = config_lib.flatten(config)
    _apply_overrides(config, [argv[0], *rest], known=[*settings, "help"])
    config.sweep = axes.merged(settings.sweep or (), onto=config.sweep)
    if not config.sweep:  # else each cell is checked, and nothing trains what they start from
        config_lib.validate(config)
    workdir = workdir or Workdir(Path("runs") / config.experiment)
    return Command(
        tuple(launch),
        "train" if adding else settings.mode,
        config,
        workdir,
        settings.overwrite,
        _read_sweep(settings, config, given),
        settings.task or "all",
        _read_devices(settings, config),
    )


def wants_help(argv: Sequence[str]) -> bool:
    """Whether the arguments ask for help."""
    return any(argument in HELP_FLAGS for argument in argv[1:])


def help_text(program: str) -> str:
    """The flags, every configuration field, and the experiments beside the program."""
    settings = _settings_flags()
    lines = [
        f"usage: python {program} --config=<experiment>[:argument] [--config.<field>=<value> ...]",
        "",
        *(f"  --{name:<19} {settings[name].help}" for name in settings),
        "",
        "fields of the configuration, with their defaults (an experiment sets its own):",
        *(_help_line(name) for name in FIELDS),
        "",
        experiment.offer(_experiments_dir(program)),
    ]
    return "\n".join(lines)


def _settings_flags() -> flags.FlagValues:
    """The flags besides the overrides, in a set of their own: parsing leaves no global trace."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "config", None, "experiment file, such as experiments/mnist_mtl.py", flag_values=values
    )
    flags.DEFINE_string(
        "workdir", None, "directory of the run (default: runs/<experiment>)", flag_values=values
    )
    flags.DEFINE_enum("mode", "train", MODES, " or ".join(MODES), flag_values=values)
    flags.DEFINE_string(
        "output",
        None,
        "page of --mode=report, which takes several --workdir with commas between them "
        "(default: report.html in the first)",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "remove an earlier run from the directory first", flag_values=values
    )
    flags.DEFINE_string(
        "task", None, "task to export, by its number from 0; or all (default)", flag_values=values
    )
    flags.DEFINE_string(
        "from",
        None,
        "work directory of the trained run that --mode=add_task adds tasks to; --config.data.* "
        "name them",
        flag_values=values,
    )
    _define_sweep_flags(values)
    define_flags(values)
    # Flags may follow anything they do not know, in any order.
    values.set_gnu_getopt(True)
    return values


def _define_sweep_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "sweep",
        None,
        "an axis of a grid: rho=0,0.3 or seed=0:8; may be repeated",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "sweep_print", False, "print the sweep as plain commands instead", flag_values=values
    )
    flags.DEFINE_integer(
        "sweep_workers",
        None,
        "train the programs of a sweep in so many processes",
        flag_values=values,
    )
    flags.DEFINE_string(
        "slurm.partition",
        None,
        "submit the programs of a sweep to it, as a job array",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "slurm.minutes",
        60,
        "time limit of such a job, which goes on in a new one",
        flag_values=values,
    )
    flags.DEFINE_integer("slurm.gpus", 0, "GPUs of each such job", flag_values=values)
    flags.DEFINE_integer(
        "slurm.cpus",
        None,
        "cores of each such job (default: as many as the cluster gives)",
        flag_values=values,
    )


def _parse_settings(argv: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """The settings, and the arguments that are none: overrides, and mistakes."""
    settings = _settings_flags()
    try:
        rest = settings(list(argv), known_only=True)[1:]
    except (flags.Error, ValueError) as error:
        raise UserError(_sentence(error)) from error
    if settings.mode != "report" and settings.output is not None:
        raise UserError("--output is the page of --mode=report; a run writes to its --workdir.")
    mode = settings.mode
    if mode in ("evaluate", "export") and settings.overwrite:
        raise UserError(f"--overwrite would remove the run that --mode={mode} is to {mode}.")
    _check_task(settings)
    if settings["from"].value is not None and mode != "add_task":
        raise UserError(
            f"--from={settings['from'].value} is for --mode=add_task; to start from a trained run "
            "without keeping its tasks, set --config.training.init_from."
        )
    return settings, rest


def _check_task(settings: flags.FlagValues) -> None:
    """Raises UserError if --task makes no sense; whether there is such a task the data say."""
    task = settings.task
    if task is not None and settings.mode != "export":
        raise UserError(f"--task={task} is for --mode=export.")
    if task is not None and task != "all" and not re.fullmatch("[0-9]+", task):
        raise UserError(f"--task={task}: name a task by its number, counted from 0, or all.")


def _read_sweep(
    settings: flags.FlagValues, config: ml_collections.ConfigDict, given: dict[str, Any]
) -> Sweep | None:
    """The sweep that is asked for, every cell checked."""
    slurm = _read_slurm(settings)
    asked = {
        "--sweep_print": settings.sweep_print,
        "--sweep_workers": settings.sweep_workers is not None,
        "--slurm.partition": slurm is not None,
    }
    named = [name for name, is_asked in asked.items() if is_asked]
    if not config.sweep:
        if named:
            raise UserError(f"{named[0]} needs a grid: name its axes with --sweep=FIELD=VALUES.")
        return None
    if settings.mode == "export":
        raise UserError(
            "--mode=export takes a single run, and this is a sweep: train the cell by itself, with "
            "the command that --sweep_print shows."
        )
    if settings.mode == "evaluate":
        _require_no_training(settings, named)
    if len(named) > 1:
        raise UserError(f"{' and '.join(named)} exclude each other: name one.")
    if settings.sweep_workers is not None and settings.sweep_workers < 1:
        raise UserError(f"--sweep_workers={settings.sweep_workers}: name an integer >= 1.")
    if slurm is not None:
        require_slurm()
    cells = make_cells(config, axes.parse_axes([config.sweep]))
    return Sweep(tuple(cells), given, settings.sweep_print, settings.sweep_workers, slurm)


def _read_devices(settings: flags.FlagValues, config: ml_collections.ConfigDict) -> Devices:
    """What the command is to run on."""
    found = read_devices(settings)
    asked = {"--mesh": found.mesh is not None, "--distributed": found.processes is not None}
    named = [name for name, is_asked in asked.items() if is_asked]
    if named and (settings.sweep_workers is not None or settings["slurm.partition"].value):
        raise UserError(
            f"{named[0]} is for one program on many devices; --sweep_workers and --slurm.partition "
            "train each program of a sweep on its own. Name one of them."
        )
    if found.mesh and found.mesh.get("sweep", 1) > 1 and not config.sweep:
        raise UserError(
            f"--mesh={settings.mesh}: there are no cells of a sweep to split; name its grid with "
            "--sweep=FIELD=VALUES, or another axis."
        )
    return found


def _require_no_training(settings: flags.FlagValues, named: Sequence[str]) -> None:
    """Raises UserError if an evaluation is asked for with flags of a sweep that trains."""
    if settings.sweep:
        raise UserError(
            f"--sweep with --mode={settings.mode}: a sweep evaluates every cell itself, in "
            "sweep.json; --config.sweep= empties the grid."
        )
    if settings.sweep_workers is not None or "--slurm.partition" in named:
        raise UserError(f"{named[-1]} with --mode={settings.mode}: only training has programs.")


def _read_slurm(settings: flags.FlagValues) -> Slurm | None:
    """Where jobs are to be submitted; None where they are not."""
    flag = {name: settings[f"slurm.{name}"] for name in ("partition", "minutes", "gpus", "cpus")}
    if flag["partition"].value is None:
        for name, one in flag.items():
            if one.present:
                raise UserError(f"--slurm.{name} needs --slurm.partition=NAME.")
        return None
    if not flag["partition"].value:
        raise UserError("--slurm.partition is empty; name a partition of the cluster.")
    for name, least in (("minutes", 1), ("gpus", 0), ("cpus", 1)):
        value = flag[name].value
        if value is not None and value < least:
            raise UserError(f"--slurm.{name}={value}: name an integer >= {least}.")
    return Slurm(**{name: one.value for name, one in flag.items()})


def _given_workdir(settings: flags.FlagValues) -> Workdir | None:
    if settings.workdir == "":
        raise UserError("--workdir is empty; name a directory.")
    return None if settings.workdir is None else Workdir(Path(settings.workdir).expanduser())


def _apply_overrides(
    config: ml_collections.ConfigDict, argv: list[str], known: Sequence[str]
) -> None:
    """Sets the fields named by `--config.<field>=<value>`; anything else left over is a mistake."""
    argv = _set_to_none(config, argv)
    named = [match["field"] for match in map(_OVERRIDE.match, argv) if match]
    unknown = [name for name in named if name not in FIELDS]
    if unknown:
        messages = [config_lib.unknown_field_message(name, "--config.") for name in unknown]
        raise UserError("\n".join(messages))
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        positional = values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown_flag(error.flagname, known)) from error
    except (flags.Error, ValueError) as error:
        raise UserError(_sentence(error)) from error
    if positional:
        raise UserError(f"unexpected argument {positional[0]!r}: write options as --name=value.")
    config_lib.resolve_length(config, named)


def _set_to_none(config: ml_collections.ConfigDict, argv: list[str]) -> list[str]:
    """Takes out `--config.<field>=None` where None is allowed, which no flag of a number reads."""
    rest = []
    for argument in argv:
        match = _OVERRIDE.match(argument)
        field = FIELDS.get(match["field"]) if match else None
        if field and field.rule.none_means and argument.endswith("=None"):
            group, _, leaf = match["field"].rpartition(".")
            config[group][leaf] = None
        else:
            rest.append(argument)
    return rest


def _sentence(error: Exception) -> str:
    """absl's message about a flag, with the type that a configuration field expects."""
    message = str(error)
    given = message.removesuffix(f": {error.__context__}").removeprefix("flag ")
    field = given.partition("=")[0].removeprefix("--config.")
    if field in FIELDS:
        return f"{given}: expected {FIELDS[field].rule.kind_name}."
    return message.removeprefix("flag ")


def _unknown_flag(name: str, known: Sequence[str]) -> str:
    if name in FIELDS:
        return f"--{name}: there is no such flag; did you mean --config.{name}?"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean --{near[0]}?" if near else "--help lists the flags."
    return f"--{name}: there is no such flag; {hint}"


def _missing_config(mode: str, experiments: Path) -> str:
    if mode != "train":
        return f"--mode={mode} needs the --workdir of a run, or the --config it was trained with."
    return f"--config is missing; {experiment.offer(experiments)}"


def _experiments_dir(program: str) -> Path:
    return Path(program).parent / "experiments"


def _help_line(name: str) -> str:
    field = FIELDS[name]
    return f"  {name} = {field.default!r}\n      {field.meaning} ({field.rule.allowed_in_full})"
