"""Models and data sets of the hub: asked for in bounded time, downloaded once."""
