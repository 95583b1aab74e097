"""The verbs of the command `mg-vtc`, one a file; what a verb needs is imported when it runs."""
