"""The images that a map is averaged over: arrays, iterables of arrays, noise drawn when asked for, photos from disk.

Comes in: what a user has. Goes out: batches of images of one shape. Never sees a model.
Invariant: the same words and seeds give the same images, in whatever batches.
One more kind of images is a branch of `as_images` in `images.py`; one that commands and sweeps name, of `Inputs` in
`named.py` too.
"""
