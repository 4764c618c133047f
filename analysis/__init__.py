"""The eyes: reads run folders and tables, never live objects; statistics, figures, the dashboard.

From `sim` only records and units may be imported.
"""
