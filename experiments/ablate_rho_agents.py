"""Ablation on CIFAR-MTL: how the collaboration reward and the kind of agent decide the accuracy.

Purpose: the weight rho of the collaboration reward against each way to assign agents to tasks,
eight seeds each, as one sweep.

Paper: Rosenbaum, Klinger, Riemer, "Routing Networks", ICLR 2018, the comparison of agents and of
    values of rho on CIFAR-MTL.

Command: python launch.py --config=experiments/ablate_rho_agents.py
    Fewer seeds: --sweep=seed=0:2. The same on the digits embedded in scikit-learn, in minutes:
    python launch.py --config=experiments/mnist_mtl.py:digits --sweep=rho=0,0.1,0.3,1.0 \\
        --sweep=router.agent=single,per_task --sweep=seed=0:8

Expected: not measured yet.

Minutes: not measured yet; 32 times those of cifar_mtl for each kind of agent.
"""

import runpy
from pathlib import Path

import ml_collections

from routing_jax.config_fields import ROUTER_AGENTS


def get_config() -> ml_collections.ConfigDict:
    """The configuration of cifar_mtl, and the grid."""
    config = runpy.run_path(str(Path(__file__).with_name("cifar_mtl.py")))["get_config"]()
    config.experiment = "ablate_rho_agents"
    agents = ",".join(ROUTER_AGENTS)
    config.sweep = f"rho=0,0.1,0.3,1.0 router.agent={agents} seed=0:8"
    return config
