r"""
Differentiable pose from eight points
=====================================

Two cameras see the same points, at x in one picture and at y in the other, in homogeneous
coordinates. With R and t the rotation and direction from one to the other, every pair satisfies

.. math:: y^T E x = 0, \qquad E = [t]_\times R,

which is linear in E. The eight-point algorithm (Longuet-Higgins, 1981; Hartley, 1997) takes the
singular vector of the smallest singular value of the matrix of these equations. Here it is
differentiated by the points, and so tells how noise in the pictures becomes noise in the pose.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import spectralgrad as sg

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)

# %%
# Two views
# ---------

ROTATION = np.asarray(sg.nearest_rotation(np.eye(3) + 0.2 * rng.standard_normal((3, 3))))
DIRECTION = np.array([1.0, 0.2, -0.1]) / np.linalg.norm([1.0, 0.2, -0.1])
NOISE = 1e-4  # a tenth of a pixel of a picture that is 1000 pixels wide

places = rng.uniform([-1.5, -1.5, 3], [1.5, 1.5, 7], (40, 3))
seen = places @ ROTATION.T + DIRECTION
clean = np.stack([places[:, :2] / places[:, 2:], seen[:, :2] / seen[:, 2:]])


def cross(t):
    return jnp.cross(jnp.eye(3), -t).T  # cross(t) @ x = t x x


# %%
# The pose
# --------
# A singular vector is known up to its sign, and the two values of an essential matrix that are not
# zero are equal, so that its singular vectors have no derivative at all. What is wanted of them are
# projectors, and these have one:
#
# - e e^T, for the vector e of the smallest value of the equations, is what the projector on the
#   other eight leaves;
# - t t^T is what the projector on the two left singular vectors of E leaves;
# - R is the rotation nearest to the matrix of cofactors of E less [t] E, for the right sign of E.


def last_vector(A, k, near):
    """The unit vector that k right singular vectors leave out, on the side of `near`."""
    outside = jnp.eye(A.shape[-1]) - sg.singular_projector(A, k, side="right")
    column = outside @ near
    return column / jnp.linalg.norm(column)


def pose(points):
    """R and t; the guesses say on which side the signs are, as a test of depths does elsewhere."""
    x, y = jnp.concatenate([points, jnp.ones((2, points.shape[1], 1))], axis=-1)
    equations = (y[:, :, None] * x[:, None, :]).reshape(-1, 9)
    essential = cross(DIRECTION) @ ROTATION
    E = last_vector(equations, 8, near=essential.reshape(9)).reshape(3, 3) * jnp.sqrt(2)
    t = last_vector(E.T, 2, near=jnp.asarray(DIRECTION))
    cofactors = jnp.stack([jnp.cross(E[i - 2], E[i - 1]) for i in range(3)])
    return sg.nearest_rotation(cofactors - cross(t) @ E), t


R, t = pose(jnp.asarray(clean))
assert np.allclose(R, ROTATION, atol=1e-9)
assert np.allclose(t, DIRECTION, atol=1e-9)

# %%
# Eight points are enough
# -----------------------
# Then the equations have a matrix of eight rows, whose null vector is E.

R, t = pose(jnp.asarray(clean[:, :8]))
assert np.allclose(R, ROTATION, atol=1e-8)

# %%
# From noise in the pictures to noise in the pose
# -----------------------------------------------
# With J the Jacobian of the direction t by all coordinates, its covariance is J J^T times the
# variance of a coordinate, to first order.

jacobian = jax.jit(jax.jacobian(lambda points: pose(points)[1]))
few, many = (jacobian(jnp.asarray(clean[:, :count])).reshape(3, -1) for count in (8, 40))
assert np.isfinite(few).all()

step = 1e-6 * rng.standard_normal(clean.shape)
difference = (pose(jnp.asarray(clean + step))[1] - pose(jnp.asarray(clean - step))[1]) / 2
assert np.allclose(many @ step.reshape(-1), difference, rtol=1e-4, atol=1e-12)

# %%
# The prediction is compared with the poses of 1000 noisy pairs of pictures.

noisy = clean + NOISE * rng.standard_normal((1000, *clean.shape))
measured = {
    count: np.asarray(jax.jit(jax.vmap(lambda points: pose(points)[1]))(noisy[:, :, :count]))
    for count in (8, 40)
}
predicted = {8: NOISE**2 * few @ few.T, 40: NOISE**2 * many @ many.T}
for count in (8, 40):
    variances = [np.trace(c) for c in (predicted[count], np.cov(measured[count].T))]
    spread = np.degrees(np.sqrt(variances))
    print(f"{count} points: {spread[0]:.4f} degrees predicted, {spread[1]:.4f} measured")
covariance = np.cov(measured[40].T)
assert np.linalg.norm(predicted[40] - covariance) < 0.15 * np.linalg.norm(covariance)

# %%
# Directions in the plane across t, in degrees, and the ellipses that hold 95 % of them.

across = np.linalg.svd(DIRECTION[None])[2][1:]
circle = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 200)), np.sin(a)])
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for panel, count in zip(axes, (8, 40), strict=True):
    dots = np.degrees((measured[count] - DIRECTION) @ across.T)
    root = np.linalg.cholesky(across @ predicted[count] @ across.T)
    ellipse = np.degrees(np.sqrt(-2 * np.log(0.05)) * root @ circle)
    panel.plot(*dots.T, ".", ms=2, color="0.6", label="noisy pictures")
    panel.plot(*ellipse, color="C1", lw=2, label="95 %, by the Jacobian")
    squares = np.sum(np.linalg.solve(np.degrees(root), dots.T) ** 2, axis=0)
    inside = np.mean(squares < -2 * np.log(0.05))
    panel.set(title=f"Direction from {count} points: {inside:.1%} inside")
    panel.set(xlabel="degrees", ylabel="degrees")
    panel.legend(loc="lower left")
    panel.grid(color="0.9")
assert abs(inside - 0.95) < 0.02
plt.show()
