"""Whether a network can be fooled: changes that flip its class, and images made worse, as tables, curves and a page."""

from mikata.explaining.robustness.run import Asking, Tests, measure_robustness

__all__ = ["Asking", "Tests", "measure_robustness"]
