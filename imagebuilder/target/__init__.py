"""A running system under test."""
