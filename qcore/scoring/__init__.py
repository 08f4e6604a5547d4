"""From an allocation to a point: the evaluator, and the executors that spread its work."""
