"""What a device allows on the pages: an editor of rules, and rules in words."""
