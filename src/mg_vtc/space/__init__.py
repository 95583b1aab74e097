"""A page on which a model is tried: on this machine by `mg-vtc demo-app`, on the Hub as a Space."""
