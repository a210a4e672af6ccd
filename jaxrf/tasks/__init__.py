"""What is to be mapped, as values: specifications in words, the tasks of their product, and tasks from models in memory.

Comes in: a table, a TOML file, models. Goes out: tasks with identities, which can be sent elsewhere and loaded there.
Knows nothing of places, blocks and workers. Invariant: tasks with equal ids have the same maps for the same seed and image.
One more key is a field of `Specification`; it becomes a part of the id by itself.
"""

from jaxrf.tasks.specification import Specification, from_dict, read

__all__ = ["Specification", "from_dict", "read"]
