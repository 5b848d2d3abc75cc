#!/usr/bin/env -S uv run --script

# /// script
# dependencies = ["nox>=2025.2.9"]
# ///

"""The scripts of the folder `ci`, for those who are used to nox: each makes its own environment."""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.run("ci/lint", external=True)


@nox.session
def test(session: nox.Session) -> None:
    """The demo and the test suite; arguments go to pytest."""
    session.run("ci/test", *session.posargs, external=True)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The documentation site, in docs/build/html."""
    session.run("ci/docs", *session.posargs, external=True)


@nox.session(default=False)
def package(session: nox.Session) -> None:
    """The distributions, in dist, checked."""
    session.run("ci/package", external=True)


if __name__ == "__main__":
    nox.main()
