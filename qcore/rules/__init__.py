"""What a device allows, as a value: ordered rules that every search, solver and slider obeys."""
