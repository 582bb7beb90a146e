"""The noise of private lanes: exact samplers of the discrete Gaussian, chosen by the spec."""
