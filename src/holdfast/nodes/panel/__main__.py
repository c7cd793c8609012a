"""Run the panel without pages (JSON, events, bundles). ``python -m holdfast.web`` is the panel with its pages.

The only place in this node that picks adapters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.logging_json import configure_logging
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.settings_toml import load
from holdfast.errors import HoldfastError
from holdfast.nodes.edge import App
from holdfast.nodes.panel.access import split_listen
from holdfast.nodes.panel.app import create_app
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.metrics import METRICS
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.server import make_server, run_program


def build_service(config: PanelConfig) -> PanelService:
    """The panel's logic on the system's clock, counted for Prometheus."""
    return PanelService(config, SystemClock(), PrometheusMetrics(METRICS))


def build(config: PanelConfig) -> App:
    """The panel without pages."""
    return create_app(build_service(config))


def run(make_app: Callable[[PanelConfig], App], arguments: list[str], environment: Mapping[str, str]) -> int:
    """Load ``[panel]`` from the TOML file named in ``arguments`` (or none) and serve; returns the exit code."""
    try:
        path = Path(arguments[0]) if arguments else None
        config = load(path, environment, {"panel": PanelConfig}).table("panel", PanelConfig)
        app = make_app(config)
        host, port = split_listen(config.listen)
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging("panel")
    run_program(make_server(app, host=host, port=port).serve())
    return 0


def main() -> None:
    """``python -m holdfast.nodes.panel [FILE]``."""
    sys.exit(run(build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
