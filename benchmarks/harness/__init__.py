"""What the benchmarks share: servers, traffic, rule sets to compare with, and plain tables."""
