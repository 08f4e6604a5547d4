"""The Guide's lessons: what bits do, why layers differ, what a front is."""
