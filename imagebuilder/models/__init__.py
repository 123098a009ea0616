"""Models: inspected, optimized, evaluated and sealed on the host."""
