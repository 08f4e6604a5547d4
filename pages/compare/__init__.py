"""The Compare page: several runs over one another, where they can be compared."""
