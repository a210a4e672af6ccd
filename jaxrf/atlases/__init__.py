"""The atlas: theoretical and effective fields of the zoo's networks, under one protocol, as data.

Comes in: the zoo. Goes out: a table with a row for each network, stage, input and kind of images; maps; `jaxrf.atlas()`.
The run is a sweep for each row, in a folder of its own, so that it can be stopped, killed, extended and repeated.
Invariants: a row says all that is needed to make it again; what failed has a row with its reason; no number is typed by hand.
Reading the atlas loads no JAX. One more column is a field of `AtlasRow`, and raises `SCHEMA`.
"""
