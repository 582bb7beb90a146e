"""Planning a session before anybody commits to it: what it would tell, cost and send."""
