"""Figures of results and tables. Nothing here runs a model."""
