"""Files that hold a bit configuration: bitdial's own, exports to other tools, imports from them."""
