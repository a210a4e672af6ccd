"""The images that a map is averaged over: arrays, iterables of arrays, noise drawn when asked for, photos from disk.

Comes in: what a user has. Goes out: batches of images of one shape, the same ones for the same seed.
Never sees a model.
"""
