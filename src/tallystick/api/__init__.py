"""The HTTP API: `router` can be mounted in any FastAPI app, `create_app` is the one that `tally serve` runs."""

from tallystick.api.app import create_app
from tallystick.api.routes import router

__all__ = ["create_app", "router"]
