"""Figures: pure functions from small tables to Plotly figures."""
