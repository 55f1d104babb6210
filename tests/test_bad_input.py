"""One table of wrong inputs: each is answered at once, by name, with what is allowed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import launch
from routing_jax.config_data import DATA_SETS, DATA_TASKS
from routing_jax.config_fields import MODELS, ROUTER_RULES

ROOT = Path(__file__).parent.parent
CONFIG = "--config=experiments/mnist_mtl.py"
SECONDS_TO_ANSWER = 1.0
FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "experiments").glob("*.py"))
EXPERIMENTS = f"the experiments are: {', '.join(FILES)}"


WRONG_VALUES = [
    ("experiment", "a/b", "a name of letters, digits, _ and - (default 'experiment')"),
    ("experiment", "", "a name of letters, digits, _ and - (default 'experiment')"),
    ("experiment", "a\n", "a name of letters, digits, _ and - (default 'experiment')"),
    (
        "data.name",
        "minst",
        f"one of: {', '.join(DATA_SETS)} (default 'mnist')",
    ),
    (
        "data.tasks",
        "pairs",
        f"one of: {', '.join(DATA_TASKS)} (default 'one_vs_rest')",
    ),
    ("data.num_tasks", 0, "an integer >= 1, or None for all that there are (default None)"),
    ("data.label_fraction", 0.0, "a number in (0, 1] (default 1.0)"),
    ("data.label_fraction", 1.5, "a number in (0, 1] (default 1.0)"),
    ("data.image_size", -1, "an integer >= 0 (default 0)"),
    ("data.num_pairs", 101, "an integer in [1, 100] (default 4)"),
    ("data.relatedness", 1.1, "a number in [0, 1] (default 0.5)"),
    ("data.fallback", "", "one of: digits, none (default 'digits')"),
    ("data.input", "disk", "one of: auto, memory, stream (default 'auto')"),
    ("data.validation_fraction", 1.0, "a number in [0, 1) (default 0.0)"),
    ("data.validation_use", "best", "one of: tuning, best_step (default 'tuning')"),
    ("optimizer.l2", -1.0, "a number >= 0 (default 0.0)"),
    ("data.augment", "flip", "one of: none, crop, crop_flip (default 'none')"),
    (
        "model.name",
        "mlp",
        f"one of: {', '.join(MODELS)} (default 'routing_network')",
    ),
    (
        "model.encoder",
        "resnet50",
        "one of: conv4, stem, flatten, pixels, pointwise, strided, space_to_depth, plain, resnet "
        "(default 'conv4')",
    ),
    ("model.num_blocks", 0, "an integer >= 1, or None for one per task (default None)"),
    ("model.depth", 0, "an integer >= 1 (default 3)"),
    ("model.width", -1, "an integer >= 1 (default 128)"),
    ("model.bank", "own", "one of: per_depth, shared (default 'per_depth')"),
    ("model.head", "linear", "one of: routed, own, shared (default 'routed')"),
    ("model.dropout", 1.0, "a number in [0, 1) (default 0.0)"),
    ("model.block_noise", -0.1, "a number in [0, 1] (default 1.0)"),
    ("model.dtype", "float16", "one of: float32, bfloat16 (default 'float32')"),
    (
        "model.block",
        "attention",
        "one of: dense, conv, valid_conv, components, inverted_residual, basic (default 'dense')",
    ),
    ("model.resolution", 0, "an integer >= 1 (default 8)"),
    (
        "model.statistics",
        "own",
        "one of: shared, per_depth, per_depth_and_task (default 'per_depth')",
    ),
    (
        "dispatch.apply",
        "mix",
        "one of: mix_parameters, mix_outputs, select (default 'mix_parameters')",
    ),
    (
        "model.components",
        "conv4 identity",
        "names of conv3, conv5, conv3_twice, conv5_twice, conv7_twice, conv1x7_7x1, max_pool, "
        "mean_pool, identity, each with how often it comes, such as '8xconv3 identity'; or '' "
        "(default '')",
    ),
    ("model.strides", "2-3", "1 or 2 for each routed layer, such as 2-1-2; or '' (default '')"),
    ("router.agent", "dispatcher", "one of: per_task, single, dispatched (default 'per_task')"),
    ("router.policy", "mlp", "one of: tabular, approximator, fixed (default 'tabular')"),
    (
        "router.routes",
        "0-1,1",
        "own, own_last, shared, random, all, or each task's route such as 0-0-0 0-1-2 "
        "(default 'own')",
    ),
    ("router.num_agents", 0, "an integer >= 1, or None for one per task (default None)"),
    ("router.networks", "one", "one of: per_depth, shared (default 'per_depth')"),
    ("router.hidden", 0, "an integer >= 1 (default 64)"),
    ("router.measured", 0, "an integer >= 1 (default 4)"),
    (
        "router.rule",
        "ppo",
        f"one of: {', '.join(ROUTER_RULES)} (default 'wpl')",
    ),
    ("router.advantage_scale", 0.0, "a number in (0, 1] (default 0.5)"),
    ("router.optimizer", "lion", "one of: sgd, adam (default 'sgd')"),
    (
        "router.dispatcher_learning_rate",
        0.0,
        "a number > 0, or None for router.learning_rate (default None)",
    ),
    (
        "router.exploration_schedule",
        "step",
        "one of: linear, geometric, inverse_sqrt (default 'linear')",
    ),
    ("router.start_probability", 0.0, "a number in (0, 1) (default 0.5)"),
    ("router.start_probability", 1.0, "a number in (0, 1) (default 0.5)"),
    ("router.skip_below", 0.5, "a number in [0, 0.5) (default 0.0)"),
    ("router.merge", "max", "one of: mean, sum (default 'mean')"),
    ("router.budget", 1.5, "a number in [0, 1] (default 1.0)"),
    ("router.budget", -0.1, "a number in [0, 1] (default 1.0)"),
    ("router.budget_weight", -1.0, "a number >= 0 (default 0.0)"),
    ("router.certainty_weight", -1.0, "a number >= 0 (default 0.0)"),
    ("router.empty_weight", -1.0, "a number >= 0 (default 0.0)"),
    ("router.count_weight", -1.0, "a number >= 0 (default 0.0)"),
    ("router.probability_floor", -0.1, "a number in [0, 1] (default 0.0)"),
    (
        "router.wpl_convention",
        "paper",
        "one of: routing_networks, abdallah_lesser (default 'routing_networks')",
    ),
    ("router.decision_per", "batch", "one of: example, task (default 'example')"),
    ("router.learning_rate", 0.0, "a number > 0 (default 0.1)"),
    ("router.return_rate", 0.0, "a number in (0, 1] (default 0.05)"),
    (
        "router.trace",
        1.5,
        "a number in [0, 1], or None for 1 for tables, which see no difference between states, "
        "else 0 (default None)",
    ),
    (
        "router.epsilon",
        1.1,
        "a number in [0, 1], or None for 0.1 for rules that learn action values, else 0 "
        "(default None)",
    ),
    ("router.epsilon_end", -0.1, "a number in [0, 1], or None for router.epsilon (default None)"),
    (
        "router.temperature",
        -1.0,
        "a number >= 0, or None for 0 for rules that learn action values, else 1 (default None)",
    ),
    (
        "router.temperature_end",
        -1.0,
        "a number >= 0, or None for router.temperature (default None)",
    ),
    ("router.entropy_weight", -1.0, "a number >= 0 (default 0.0)"),
    ("dispatch.strategy", "fast", "one of: auto, dense, gather, grouped, ragged (default 'auto')"),
    ("reward.final", "f1", "one of: correctness, negative_loss (default 'correctness')"),
    ("reward.rho", 1.5, "a number in [0, 1] (default 0.0)"),
    ("reward.rho", -0.1, "a number in [0, 1] (default 0.0)"),
    ("reward.rho", float("nan"), "a number in [0, 1] (default 0.0)"),
    ("reward.collaboration", "none", "one of: usage, probability (default 'usage')"),
    ("reward.usage_window", 0, "an integer >= 1, or None for those of ten steps (default 256)"),
    ("reward.discount", 2.0, "a number in [0, 1] (default 1.0)"),
    ("optimizer.name", "lion", "one of: sgd, adam (default 'sgd')"),
    ("optimizer.learning_rate", float("inf"), "a number > 0 (default 0.05)"),
    ("optimizer.learning_rate", -0.05, "a number > 0 (default 0.05)"),
    ("optimizer.momentum", 1.0, "a number in [0, 1) (default 0.9)"),
    ("optimizer.schedule", "linear", "one of: constant, step, cosine (default 'step')"),
    ("training.steps", 0, "an integer >= 1, or None for a length in epochs (default 1000)"),
    (
        "training.trainable",
        "heads",
        "all, none, or some of head, mixing, normalisation, statistics, blocks, encoder, adapter, "
        "such as head,mixing (default 'all')",
    ),
    ("data.first_task", -1, "an integer >= 0 (default 0)"),
    (
        "data.examples_per_class",
        0,
        "an integer >= 1, or None for all that there are (default None)",
    ),
    ("training.epochs", -3, "an integer >= 1, or None for a length in steps (default None)"),
    ("training.examples_per_task", 0, "an integer >= 1 (default 16)"),
    ("training.eval_every", 0, "an integer >= 1 (default 100)"),
    ("training.checkpoint_every", 0, "an integer >= 1 (default 500)"),
    ("training.seed", -1, "an integer in [0, 2**32) (default 0)"),
    ("training.seed", 2**32, "an integer in [0, 2**32) (default 0)"),
]


def one_wrong_value(name, value, advice):
    """A row of `WRONG_INPUTS`: the arguments, and the message."""
    message = (
        "The configuration is wrong in 1 place:\n"
        f"  {name} = {value!r} is not allowed: set it to {advice}"
    )
    return [CONFIG, f"--config.{name}={value}"], message


WRONG_INPUTS = {
    **{
        f"{name}={value!r}": one_wrong_value(name, value, advice)
        for name, value, advice in WRONG_VALUES
    },
    "no config": (
        [],
        f"--config is missing; {EXPERIMENTS}",
    ),
    "config without a value": (["--config"], "Missing value for flag --config"),
    "no such file": (
        ["--config=experiments/minst.py"],
        f"--config=experiments/minst.py: there is no such file; {EXPERIMENTS}",
    ),
    "no such argument": (
        [CONFIG + ":cifar"],
        "--config=experiments/mnist_mtl.py:cifar: there is no argument 'cifar'; "
        "those that exist: digits; baseline=none|task_specific_all_fc|task_specific_1_fc|"
        "cross_stitch|soft_mixture|random_routes.",
    ),
    "no experiment": (
        ["--config=launch.py"],
        "--config=launch.py: the file defines no get_config.",
    ),
    "unknown field": (
        [CONFIG, "--config.reward.roh=0.3"],
        "--config.reward.roh: there is no such field; did you mean --config.reward.rho?",
    ),
    "unknown field, value apart": (
        ["-config.reward.roh", "0.3", CONFIG],
        "--config.reward.roh: there is no such field; did you mean --config.reward.rho?",
    ),
    "unknown flag form of a field": (
        [CONFIG, "--noconfig.router.pas_action"],
        "--config.router.pas_action: there is no such field; "
        "did you mean --config.router.pass_action?",
    ),
    "bare field": (
        [CONFIG, "--config.rho=0.3"],
        "--config.rho: there is no such field; did you mean --config.reward.rho?",
    ),
    "ambiguous field": (
        [CONFIG, "--config.learning_rate=0.3"],
        "--config.learning_rate: there is no such field; did you mean "
        "--config.router.learning_rate or --config.optimizer.learning_rate?",
    ),
    "group of fields": (
        [CONFIG, "--config.dispatch=dense"],
        "--config.dispatch: there is no such field; did you mean --config.dispatch.apply or "
        "--config.dispatch.strategy?",
    ),
    "field like no other": (
        [CONFIG, "--config.zzz=1"],
        "--config.zzz: there is no such field; launch.py --help lists the fields.",
    ),
    "text for a number": (
        [CONFIG, "--config.reward.rho=high"],
        "--config.reward.rho=high: expected a number.",
    ),
    "fraction for an integer": (
        [CONFIG, "--config.training.steps=1.5"],
        "--config.training.steps=1.5: expected an integer.",
    ),
    "fraction for an integer that may be None": (
        [CONFIG, "--config.model.num_blocks", "2.5"],
        "--config.model.num_blocks=2.5: expected an integer.",
    ),
    "text for a flag": (
        [CONFIG, "--config.data.share_images=perhaps"],
        "--config.data.share_images=perhaps: expected true or false.",
    ),
    "value for a negated flag": (
        [CONFIG, "--noconfig.data.share_images=true"],
        "--noconfig.data.share_images=true does not take an argument",
    ),
    "field without a value": (
        [CONFIG, "--config.reward.rho"],
        "Missing value for flag --config.reward.rho",
    ),
    "wrong values": (
        [
            CONFIG,
            "--config.reward.rho=1.5",
            "--config.data.name=minst",
            "--config.model.width=0",
            "--config.router.agent=dispatcher",
            "--config.router.rule=ppo",
            "--config.router.learning_rate=-1",
            "--config.optimizer.learning_rate=nan",
            "--config.training.epochs=-3",
        ],
        "The configuration is wrong in 8 places:\n"
        f"  data.name = 'minst' is not allowed: set it to one of: {', '.join(DATA_SETS)} "
        "(default 'mnist')\n"
        "  model.width = 0 is not allowed: set it to an integer >= 1 (default 128)\n"
        "  router.agent = 'dispatcher' is not allowed: set it to one of: per_task, single, "
        "dispatched (default 'per_task')\n"
        f"  router.rule = 'ppo' is not allowed: set it to one of: {', '.join(ROUTER_RULES)} "
        "(default 'wpl')\n"
        "  router.learning_rate = -1.0 is not allowed: set it to a number > 0 (default 0.1)\n"
        "  reward.rho = 1.5 is not allowed: set it to a number in [0, 1] (default 0.0)\n"
        "  optimizer.learning_rate = nan is not allowed: set it to a number > 0 (default 0.05)\n"
        "  training.epochs = -3 is not allowed: set it to an integer >= 1, or None for a length "
        "in steps (default None)",
    ),
    "a clash": (
        [CONFIG, "--config.dispatch.strategy=gather"],
        "The configuration is wrong in 1 place:\n"
        "  dispatch.strategy = 'gather' and router.decision_per = 'example' clash: gather applies "
        "one block per task; set router.decision_per to task or dispatch.strategy to auto",
    ),
    "both lengths": (
        [CONFIG, "--config.training.epochs=1", "--config.training.steps=2"],
        "training.epochs and training.steps both set the length of training: name only one.",
    ),
    "unknown flag": (
        [CONFIG, "--wrkdir=elsewhere"],
        "--wrkdir: there is no such flag; did you mean --workdir?",
    ),
    "field without its prefix": (
        [CONFIG, "--reward.rho=0.3"],
        "--reward.rho: there is no such flag; did you mean --config.reward.rho?",
    ),
    "flag like no other": (
        [CONFIG, "--zzz"],
        "--zzz: there is no such flag; --help lists the flags.",
    ),
    "positional argument": (
        [CONFIG, "train"],
        "unexpected argument 'train': write options as --name=value.",
    ),
    "unknown mode": (
        [CONFIG, "--mode=trian"],
        "--mode=trian: value should be one of <train|evaluate|add_task|export|report>",
    ),
    "report on what": (
        ["--mode=report"],
        "--mode=report needs --workdir: the directories of runs and sweeps, with commas between "
        "them.",
    ),
    "report over nothing": (
        ["--mode=report", "--workdir=runs/none"],
        "there is nothing to report:\n"
        "  --workdir=runs/none does not exist; name the directory of a run or sweep",
    ),
    "export what": (
        ["--mode=export"],
        "--mode=export needs the --workdir of a run, or the --config it was trained with.",
    ),
    "export over itself": (
        ["--mode=export", CONFIG, "--overwrite"],
        "--overwrite would remove the run that --mode=export is to export.",
    ),
    "export a sweep": (
        ["--mode=export", CONFIG, "--sweep=rho=0,1"],
        "--mode=export takes a single run, and this is a sweep: train the cell by itself, with the "
        "command that --sweep_print shows.",
    ),
    "task of what": ([CONFIG, "--task=3"], "--task=3 is for --mode=export."),
    "task by name": (
        ["--mode=export", CONFIG, "--task=three"],
        "--task=three: name a task by its number, counted from 0, or all.",
    ),
    "evaluate what": (
        ["--mode=evaluate"],
        "--mode=evaluate needs the --workdir of a run, or the --config it was trained with.",
    ),
    "evaluate nothing": (
        ["--mode=evaluate", "--workdir=experiments"],
        "--workdir=experiments holds no run: there is no experiments/config.json.",
    ),
    "evaluate and overwrite": (
        ["--mode=evaluate", CONFIG, "--overwrite"],
        "--overwrite would remove the run that --mode=evaluate is to evaluate.",
    ),
    "a file as work directory": (
        [CONFIG, "--workdir=launch.py"],
        "--workdir=launch.py is a file; name a directory.",
    ),
    "unknown axis of a sweep": (
        [CONFIG, "--sweep=rhoo=0,0.3"],
        "--sweep=rhoo=0,0.3: rhoo: there is no such field; did you mean rho?",
    ),
    "unknown field as an axis": (
        [CONFIG, "--sweep=router.agnet=single"],
        "--sweep=router.agnet=single: router.agnet: there is no such field; did you mean "
        "router.agent?",
    ),
    "an axis without values": (
        [CONFIG, "--sweep=rho="],
        "--sweep=rho=: there are no values; write --sweep=rho=VALUE,VALUE.",
    ),
    "an empty axis": (
        [CONFIG, "--sweep="],
        "--sweep=: there is no axis; write --sweep=FIELD=VALUE,VALUE.",
    ),
    "text as a swept number": (
        [CONFIG, "--sweep=rho=0,high"],
        "--sweep=rho=0,high: every value must be a number.",
    ),
    "an axis twice": (
        [CONFIG, "--sweep=rho=0", "--sweep=reward.rho=1"],
        "--sweep: reward.rho is swept twice; join its values.",
    ),
    "a cell that is not allowed": (
        [CONFIG, "--sweep=rho=0.5,1.5", "--sweep=seed=0:2"],
        "--sweep: the cell rho=1.5,seed=0 is not allowed. The configuration is wrong in 1 place:\n"
        "  reward.rho = 1.5 is not allowed: set it to a number in [0, 1] (default 0.0)",
    ),
    "a cell that clashes": (
        [CONFIG, "--sweep=dispatch.strategy=auto,gather"],
        "--sweep: the cell dispatch.strategy=gather is not allowed. The configuration is wrong in "
        "1 place:\n"
        "  dispatch.strategy = 'gather' and router.decision_per = 'example' clash: gather applies "
        "one block per task; set router.decision_per to task or dispatch.strategy to auto",
    ),
    "a grid over a million cells": (
        [CONFIG, "--sweep=seed=0:1000", "--sweep=model.width=1:1002"],
        "--sweep: 1,001,000 cells are more than 1,000,000; sweep fewer values.",
    ),
    "a sweep of evaluations": (
        ["--mode=evaluate", CONFIG, "--sweep=rho=0,1"],
        "--sweep with --mode=evaluate: a sweep evaluates every cell itself, in sweep.json; "
        "--config.sweep= empties the grid.",
    ),
    "workers without a sweep": (
        [CONFIG, "--sweep_workers=2"],
        "--sweep_workers needs a grid: name its axes with --sweep=FIELD=VALUES.",
    ),
    "no workers": (
        [CONFIG, "--sweep=rho=0,1", "--sweep_workers=0"],
        "--sweep_workers=0: name an integer >= 1.",
    ),
    "workers and printing": (
        [CONFIG, "--sweep=rho=0,1", "--sweep_workers=2", "--sweep_print"],
        "--sweep_print and --sweep_workers exclude each other: name one.",
    ),
    "workers that evaluate": (
        ["--mode=evaluate", CONFIG, "--config.sweep=rho=0,1", "--sweep_workers=2"],
        "--sweep_workers with --mode=evaluate: only training has programs.",
    ),
    "a table of routes as an axis": (
        [CONFIG, "--sweep=router.routes=own,0-0 0-1"],
        "--sweep=router.routes=own,0-0 0-1: a table of routes holds spaces, which separate axes, "
        "and cannot be swept; start a run for each table.",
    ),
    "a job without a partition": (
        [CONFIG, "--sweep=rho=0,1", "--slurm.minutes=30"],
        "--slurm.minutes needs --slurm.partition=NAME.",
    ),
    "GPUs without a partition": (
        [CONFIG, "--sweep=rho=0,1", "--slurm.gpus=1"],
        "--slurm.gpus needs --slurm.partition=NAME.",
    ),
    "an empty partition": (
        [CONFIG, "--sweep=rho=0,1", "--slurm.partition="],
        "--slurm.partition is empty; name a partition of the cluster.",
    ),
    "a job of no time": (
        [CONFIG, "--sweep=rho=0,1", "--slurm.partition=gpu", "--slurm.minutes=0"],
        "--slurm.minutes=0: name an integer >= 1.",
    ),
    "a job of less than no GPU": (
        [CONFIG, "--sweep=rho=0,1", "--slurm.partition=gpu", "--slurm.gpus=-1"],
        "--slurm.gpus=-1: name an integer >= 0.",
    ),
    "a job without cores": (
        [CONFIG, "--sweep=rho=0,1", "--slurm.partition=gpu", "--slurm.cpus=0"],
        "--slurm.cpus=0: name an integer >= 1.",
    ),
    "an empty work directory": (
        [CONFIG, "--workdir="],
        "--workdir is empty; name a directory.",
    ),
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_a_wrong_input_is_answered_at_once(case, capsys):
    arguments, message = WRONG_INPUTS[case]
    began = time.perf_counter()
    status = launch.main(["launch.py", *arguments])
    seconds = time.perf_counter() - began
    output = capsys.readouterr()
    assert output.err == f"error: {message}\n"
    assert (status, output.out) == (2, "")
    assert seconds < SECONDS_TO_ANSWER
    assert not (ROOT / "elsewhere").exists()


def test_slurm_where_there_is_none(capsys, monkeypatch):
    arguments = ["launch.py", CONFIG, "--sweep=rho=0,1", "--slurm.partition=gpu"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "submitit" or None)
    assert launch.main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: --slurm.partition: there is no SLURM here (the command sbatch is not found). "
        "Submit from a machine of the cluster, or use --sweep_workers=N.\n"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert launch.main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: --slurm.partition needs the package submitit, which is not installed: pip install "
        "-c constraints.txt -e '.[slurm]'.\n"
    )


@pytest.mark.parametrize(
    "case", ["no config", "no such file", "wrong values", "a clash", "a file as work directory"]
)
def test_a_wrong_input_in_a_process_of_its_own(case):
    arguments, message = WRONG_INPUTS[case]
    run = subprocess.run(
        [sys.executable, "launch.py", *arguments], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"error: {message}\n")


def test_the_table_is_long():
    assert len(WRONG_INPUTS) >= 60
