"""How convolutions and poolings are computed on windows. Nothing here knows of equations or units."""
