r"""
Covariances in a scikit-learn pipeline
======================================

Recordings of several channels, as those of an electroencephalogram, are told apart by their
covariance matrices. A linear classifier does better on their logarithms, which are symmetric
matrices like any other (Arsigny, Fillard, Pennec and Ayache, 2007; Barachant, Bonnet, Congedo and
Jutten, 2012). `logm` is a function of a stack of matrices, so scikit-learn's
`FunctionTransformer` makes it a step of a pipeline, and its derivative says on which entries of the
covariance a decision depends.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import spectralgrad as sg

rng = np.random.default_rng(0)
CHANNELS, SAMPLES, TRIALS = 8, 200, 300

# %%
# Recordings
# ----------
# Eight sources are mixed into eight channels. The third is louder in the second class; how loud
# each of the others is changes from one recording to the next.

mixing = rng.standard_normal((CHANNELS, CHANNELS))
classes = rng.integers(2, size=TRIALS)
loudness = np.exp(0.8 * rng.standard_normal((TRIALS, CHANNELS)))
loudness[:, 2] = np.exp(0.5 * rng.standard_normal(TRIALS) + 1.2 * classes)
sources = loudness[:, :, None] * rng.standard_normal((TRIALS, CHANNELS, SAMPLES))
recordings = mixing @ sources
covariances = recordings @ np.swapaxes(recordings, 1, 2) / SAMPLES

# %%
# Two pipelines
# -------------


def flatten(x):
    return x.reshape(len(x), -1)


steps = FunctionTransformer(flatten), LogisticRegression(max_iter=5000)
pipelines = {
    "covariances": make_pipeline(*steps),
    "their logarithms": make_pipeline(FunctionTransformer(sg.logm), *steps),
}
scores = {
    name: cross_val_score(pipeline, covariances, classes, cv=5)
    for name, pipeline in pipelines.items()
}
for name, score in scores.items():
    print(f"{name}: {score.mean():.1%} right, {score.std():.1%} between folds")
assert scores["their logarithms"].mean() > scores["covariances"].mean() + 0.03

# %%
# What a decision depends on
# --------------------------
# The classifier is linear in log C, and `sg.vjp` pulls its weights back through the logarithm: the
# gradient of the decision by every covariance of the stack, on NumPy arrays.

pipeline = pipelines["their logarithms"].fit(covariances, classes)
weights = pipeline[-1].coef_.reshape(CHANNELS, CHANNELS)
_, pullback = sg.vjp(sg.logm, covariances)
(gradients,) = pullback(np.broadcast_to(weights, covariances.shape).copy())

step = rng.standard_normal(covariances.shape)
step = 1e-6 * (step + np.swapaxes(step, 1, 2))
change = pipeline.decision_function(covariances + step)
change -= pipeline.decision_function(covariances - step)
assert np.allclose(np.sum(gradients * step, axis=(1, 2)), change / 2, rtol=1e-4, atol=1e-7)

# %%
# By the loudness of a source, the slope of the decision is that along the square of its column of
# the mixing matrix. It finds the source that the classes differ in.

along = np.einsum("ic,nij,jc->nc", mixing, gradients, mixing) * loudness**2
slopes = along.mean(axis=0)
assert np.argmax(np.abs(slopes)) == 2

figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
axes[0].bar(scores.keys(), [s.mean() for s in scores.values()], color=["0.7", "C0"])
axes[0].errorbar(
    scores.keys(), [s.mean() for s in scores.values()], [s.std() for s in scores.values()],
    fmt="none", color="black", capsize=4,
)  # fmt: skip
axes[0].set(title="Accuracy, five folds", ylim=(0.5, 1))
size = np.abs(gradients[0]).max()
image = axes[1].imshow(gradients[0], cmap="RdBu", vmin=-size, vmax=size)
figure.colorbar(image, ax=axes[1])
axes[1].set(title="Gradient by one covariance", xlabel="channel", ylabel="channel")
axes[2].bar(range(1, CHANNELS + 1), slopes)
axes[2].set(title="Slope by the power of a source", xlabel="source")
axes[2].grid(color="0.9", axis="y")
axes[2].set_axisbelow(True)
plt.show()
