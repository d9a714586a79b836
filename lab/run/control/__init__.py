"""One controlled run: the lab decides which process moves at each visible operation."""

from lab.run.control.controller import in_controller
from lab.run.control.controllers import in_controllers
from lab.run.control.pool import Pool
from lab.run.control.runner import ControlRefusedError, Runner

__all__ = ["ControlRefusedError", "Pool", "Runner", "in_controller", "in_controllers"]
