"""The run-time page: a demand moves the switches of a trained network, by hand or by a trace."""
