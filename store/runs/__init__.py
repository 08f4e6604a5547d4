"""Runs and what they leave: queue, lease, points, checkpoints, files and configurations."""
