from routing_jax.blocks import ConvBlock as ConvBlock
from routing_jax.blocks import DenseBlock as DenseBlock
from routing_jax.config import base_config as base_config
from routing_jax.config import validate as validate
from routing_jax.config_fields import RuleTraits as RuleTraits
from routing_jax.data.own import task_set as task_set
from routing_jax.data.own import task_set_from_folder as task_set_from_folder
from routing_jax.errors import ConfigError as ConfigError
from routing_jax.errors import UserError as UserError
from routing_jax.models.stack import RoutedStack as RoutedStack
from routing_jax.rl.router_optimizer import label_parameters as label_parameters
from routing_jax.rl.router_optimizer import router_optimizer as router_optimizer
from routing_jax.rl.trajectories import trajectory as trajectory
from routing_jax.routers.allocation import Allocation as Allocation
from routing_jax.routers.build import build_router as build_router
from routing_jax.routers.mixture import Mixture as Mixture
from routing_jax.training.own_run import add_tasks as add_tasks
from routing_jax.training.own_run import train as train
from routing_jax.types import Exploration as Exploration

__version__: str
