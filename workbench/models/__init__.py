"""Encoders, decoder and heads that recipes are composed of."""
