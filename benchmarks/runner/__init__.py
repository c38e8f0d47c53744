"""Starts peers, puts load on them, and writes down what came of it."""
