"""What models answer and how much of it is left: heads, metrics, fidelity, robustness, certificates, latency."""
