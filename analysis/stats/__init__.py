"""Statistics on clusters and raters, without a word of models or benchmarks."""
