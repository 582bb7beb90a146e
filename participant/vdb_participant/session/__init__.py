"""One participation, from the offered session to the kept result: durable rounds, consent, contribution, countersigning."""
