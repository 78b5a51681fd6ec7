"""Where this package plugs into others: optimum. Nothing here is imported unless the other one is there."""
