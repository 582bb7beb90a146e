"""What a site keeps on its own disk: keys, policy, ledger, journal. Nothing here reaches the network but enrolment."""
