"""The Models page: networks one can choose, and the way to add one's own."""
