"""Pages of the report: each turns a run into panels, tables and words; `html` lays them out."""
