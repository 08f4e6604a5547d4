"""What is said above a page: of the installation, a float network, what was left out."""
