"""The value interpretation: cotangents pulled back on windows, in compiled batches."""
