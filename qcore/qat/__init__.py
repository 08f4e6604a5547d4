"""Quantization-aware training (QAT): weights learn under fake quantization.

A search asks `problem.trainer` to train a stage by a request (`requests`); `ways` finds by its type
which folder answers it; `loop` is the one training loop of all; `trainer` hands out weights.
"""
