"""Trace files: when requests arrived, and what is known of each.

`read` turns a file into `TraceRows`. What a file is made of (CSV, JSONL, Parquet) is one matter, in
`tables`; what its columns mean (the canonical form, or a published data set) another, in `formats`.
Every malformed file is one `InputError` that names file and line (or row); limits hold before
anything is parsed.
"""

from scenarios.traces.formats import FORMATS
from scenarios.traces.reader import BYTES_PER_TOKEN, read
from scenarios.traces.rows import TraceRows

__all__ = ["BYTES_PER_TOKEN", "FORMATS", "TraceRows", "read"]
