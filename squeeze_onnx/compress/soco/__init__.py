"""SoCo: which components of each weight stay is learned through the whole model, not read off the singular values.

Li et al. 2025, "Optimizing Singular Spectrum for Large Language Model Compression" (arXiv 2502.15092). **Of the paper** are
W' = U(Σ ⊙ S)Vᵀ plus a trainable deviation, with S learned for every weight at once; a loss of compression ratio, divergence from
the dense model's outputs and sparsity; three stages: rapid coarse compression, alternating refinement, sparsification; components
that stay are amplified to make up for those that go. Its text was at hand in summaries only, so what follows is **ours**:

- U and V are those of the weight as its inputs see it (`weightings.Whitening`) unless another weighting is given;
  `weightings.Identity` is the paper's plain SVD.
- S is a parameter itself, 1 at the start, where the graph computes what the dense model does, and never under 0.
- The deviation D is dense, in the space that the components span anyway: W' = UΣS(Vᵀ + D). It costs nothing in the result.
- The ratio counts as price · Σ c_k min(S_k, 1), with c_k the share of all parameters that component k costs. The price rises
  until the budget is met (stage 1) and swings about it, in halved steps (stage 2; `stages`).
- The price at which a component closes is its score (`prices`): one map of all components of the model, from which a global
  budget cuts any size, as in ACIP (Genzel et al. 2025, arXiv 2502.01717), dense where factors do not pay.
- Sparsity (stage 3) presses on the components that this budget prunes, and on no other: what stays is free to be amplified.
- Each stage ends by what it sees (`stages`), not by a count.

Stage 3 alone, with the deviation off, rescales the singular values that a plan keeps: SVS.
"""
