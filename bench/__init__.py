"""Reproducible measurements, each against its peer or its floor in the same run."""
