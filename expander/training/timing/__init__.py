"""How long training takes: a step, a clip read, a whole run foretold."""
