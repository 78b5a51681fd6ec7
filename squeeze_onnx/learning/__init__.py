"""Learning on the ONNX graph itself: gradients, losses and an optimizer, without torch and without labels."""
