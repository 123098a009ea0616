"""The pytest plugin: fixtures for tests against a booted image."""
