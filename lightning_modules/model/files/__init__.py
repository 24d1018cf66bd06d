"""The files of a model: checked before they are loaded, and loaded without running code."""
