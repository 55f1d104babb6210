"""Ablations on CIFAR-MTL, each one sweep: what about the router decides the accuracy.

Purpose and paper (Rosenbaum, Klinger, Riemer, "Routing Networks", ICLR 2018), by `over=`:

    default nothing changed: beside it stand the others, which leave it out (but for dtype)
    agents  one agent for all tasks and dispatched ones instead of one for each task, with several
            weights rho of the collaboration reward
    heads   the three kinds of agents where each task has a head of its own behind the routed
            layers; elsewhere the last routed layer answers, for all tasks that share its blocks
    rho     those weights with one agent for each task; "smaller rho is better"
    rules   how the router learns, as a table; the comparison with Q-learning and REINFORCE. (With
            tables and router.trace=1, as here, actor-critic is REINFORCE with a learned baseline,
            and SARSA is Q-learning.)
    rules_rate  four of them with a router that learns ten and a hundred times as fast
    wpl     WPL by Abdallah and Lesser's convention, the reverse of the paper's; at two rates
    q_learning  exploration that falls to none; elsewhere Q-learning explores by 0.1 throughout
    pass    an action that skips a layer; the appendix
    blocks  fewer and more blocks than tasks
    tasks   the first 2, 3, 5, 10 tasks with as many blocks; the scaling of cost

and what may make learned routes pay under strong training, no claim of the paper's:

    router_rate  the router's rate beside the blocks'; the literature says both, above and below
    exploration  a share of decisions drawn at random, falling to none
    commitment   decisions that grow sharper than the policy
    start        blocks that start as clones, with a part of their own, or independent
    warm_up      blocks learn for a while under random decisions before the router does
    decision     one decision for all examples of a task in a step
    steps        blocks' gradients divided by their expected use
    reward       minus the loss, instead of right or wrong

    dtype   computing in float32 and in bfloat16; no claim of it
    dtype_untuned  the same at a tenth of the rate, without weight decay

Command: python launch.py --config=experiments/cifar_ablations.py:over=rules
    Fewer seeds: --sweep=seed=0:1.

Expected, one seed: over=default 62.5 % (results/cifar_ablations_default.json); over=router_rate
    63.6 and 64.8 % at rates of 0.3 and 1.0 (results/cifar_router_*.json); over=reward 58.2 %;
    over=rules 32 to 35 %, but Q-learning 54.8 and RELAX 65.4 %, and over=rules_rate up to 65.2 %
    (results/cifar_rules_*.json); over=agents 34.0 % (single) and 32.5 % (dispatched) with rho 0,
    over=heads 63.9, 58.8 and 59.2 % (per task, single, dispatched), over=rho 63.0 to 63.4 %
    (results/cifar_agents_*.json); over=pass 61.8 %, over=blocks 61.4 to 62.7 %;
    over=q_learning 56.2 and 55.2 %; over=wpl 35.3 and 51.1 %; over=tasks 46.6 to 64.3 %.
    over=dtype, three seeds: float32 62.05 %, bfloat16 62.60 % (results/cifar_dtype_float32.json and
    _bfloat16.json). What is not run yet stands in BUILD_NOTES.md.

Minutes: 3 to 5 for each cell of 5 epochs, 1 to 2 with fewer tasks (the same files).
"""

import runpy
from pathlib import Path

import ml_collections

from routing_jax.experiment import choose

_GRIDS = {
    "default": "",
    "agents": "rho=0,0.1,0.3,1.0 router.agent=single,dispatched",
    "heads": "router.agent=per_task,single,dispatched",
    "rho": "rho=0.1,0.3,1.0",
    "rules": "router.rule=reinforce_mean,reinforce_learned,q_learning,gumbel_softmax,relax,hedge",
    "rules_rate": "router.rule=reinforce_mean,gumbel_softmax,relax,hedge "
    "router.learning_rate=1.0,10.0",
    "wpl": "router.learning_rate=0.1,1.0",
    "q_learning": "router.epsilon=0.1,0.3",
    "pass": "router.pass_action=True",
    "blocks": "model.num_blocks=5,10,40",
    "tasks": "data.num_tasks=2,3,5,10",
    "router_rate": "router.learning_rate=0.01,0.03,0.3,1.0",
    "exploration": "router.epsilon=0.1,0.3",
    "commitment": "router.temperature_end=0.5,0.1",
    "start": "model.block_noise=0.0,0.5,1.0",
    "warm_up": "router.learns_from=0.1,0.3",
    "decision": "router.decision_per=task",
    "steps": "optimizer.block_steps=by_use",
    "reward": "reward.final=negative_loss",
    "dtype": "model.dtype=float32,bfloat16",
    "dtype_untuned": "model.dtype=float32,bfloat16",
}
_UNTUNED = {"optimizer.learning_rate": 0.02, "optimizer.l2": 0.0}
"""What results/cifar_dtype_untuned_*.json were measured with, before the rate was chosen."""
_CHANGES = {
    "heads": {"model.head": "own"},
    "wpl": {"router.wpl_convention": "abdallah_lesser"},
    "exploration": {"router.epsilon_end": 0.0},
    "q_learning": {"router.rule": "q_learning", "router.epsilon_end": 0.0},
    "dtype_untuned": _UNTUNED | {"sweep": f"{_GRIDS['dtype_untuned']} seed=0:4"},
}
_CHOICES = {
    "over": {
        name: {"sweep": f"{grid} seed=0:3".strip()} | _CHANGES.get(name, {})
        for name, grid in _GRIDS.items()
    }
}


def get_config(arg: str = "over=rules") -> ml_collections.ConfigDict:
    """The configuration of cifar_mtl at five epochs, and the grid that `arg` names.

    Raises:
        ValueError: There is no such choice.
    """
    config = runpy.run_path(str(Path(__file__).with_name("cifar_mtl.py")))["get_config"]()
    config.experiment = "cifar_ablations"
    config.training.epochs = 5
    choose(config, arg, _CHOICES)
    return config
