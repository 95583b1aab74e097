"""Demo page of a model, served locally by `mg-vtc app` or on the Hub as a Space."""
