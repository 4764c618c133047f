"""Work and its price: hardware and architecture presets, the roofline cost model.

Pure functions of plans, batches and data sheets; no clock, no wall time may enter the presets or
the cost.
"""
