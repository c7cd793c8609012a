"""Run the panel with its pages: ``python -m holdfast.web [FILE]``. Adapters are picked by the panel's ``__main__``."""

from __future__ import annotations

import os
import sys

from holdfast.nodes.edge import App
from holdfast.nodes.panel.__main__ import build_service
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.process import run_node
from holdfast.web.app import create_app


def build(config: PanelConfig) -> App:
    """The panel with its pages."""
    return create_app(build_service(config))


def main() -> None:
    """``python -m holdfast.web [FILE]``."""
    sys.exit(run_node("panel", PanelConfig, build, sys.argv[1:], os.environ))  # noqa: TID251 (this is the panel's __main__, one layer up)


if __name__ == "__main__":
    main()
