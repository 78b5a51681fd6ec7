"""Changes of a graph: factors in place of weights, fewer columns, probes, inserted nodes, parts cut out."""
