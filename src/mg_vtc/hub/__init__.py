"""Push to the Hub: model card, examples, endpoint handler and demo Space."""
