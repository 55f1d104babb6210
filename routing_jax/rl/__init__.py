"""Learning to route: rewards, returns, rules, and the optax transformations made of them."""
