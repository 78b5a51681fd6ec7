"""The stages of squeezing, in their order: survey, selection of ranks, plan, slicing, factors, refit, precision."""
