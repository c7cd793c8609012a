"""Run the panel without pages (JSON, events, bundles). ``python -m holdfast.web`` is the panel with its pages.

The only place in this node that picks adapters.
"""

from __future__ import annotations

import os
import sys

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.nodes.edge import App
from holdfast.nodes.panel.app import create_app
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.metrics import METRICS
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.process import run_node


def build_service(config: PanelConfig) -> PanelService:
    """The panel's logic on the system's clock, counted for Prometheus."""
    return PanelService(config, SystemClock(), PrometheusMetrics(METRICS))


def build(config: PanelConfig) -> App:
    """The panel without pages."""
    return create_app(build_service(config))


def main() -> None:
    """``python -m holdfast.nodes.panel [FILE]``."""
    sys.exit(run_node("panel", PanelConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
