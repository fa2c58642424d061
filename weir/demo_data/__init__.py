"""The generated Yangtze-delta federation; docs/scenario.md says what is real and what is generated."""

from weir.demo_data.generator import LEAST_VISITS, MOST_VISITS, generate

__all__ = ["LEAST_VISITS", "MOST_VISITS", "generate"]
