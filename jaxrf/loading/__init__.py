"""What commands and sweeps name by text: models, their variables, shapes and units."""
