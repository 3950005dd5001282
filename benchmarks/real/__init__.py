"""Real servers and clients: how they are started, and what is done to the replies of clients."""
