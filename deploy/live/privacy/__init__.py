"""Whether a deployment keeps what people ask: marked requests, and a search for them everywhere."""
