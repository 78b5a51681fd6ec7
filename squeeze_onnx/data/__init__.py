"""Text and what lies beside a model: readers, tasks, tokenizers, configuration, calibration batches."""
