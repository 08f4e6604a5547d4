"""The Workbench page: bits by hand, their costs, what they are predicted and measured to do."""
