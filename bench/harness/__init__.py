"""The parts of the benchmarks: processes, load, upstreams, contestants, measurements, report."""
