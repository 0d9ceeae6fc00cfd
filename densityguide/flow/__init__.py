"""What a flow is: paths, clocks, predictions, priors, networks, worlds."""
