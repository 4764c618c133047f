"""The `slots` engine: exact compiled kernels between the instants at which SimPy has a say."""
