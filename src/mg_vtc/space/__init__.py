"""Demo page of a model, served locally by `mg-vtc demo-app` or on the Hub as a Space."""
