"""What an installation pulls in: every package with its licence, and what is known against its version.

    python tools/audit.py [--extra cpu ...] [--service URL]

Follows the requirements of squeeze-onnx with these extras through the environment that it runs in. A licence that is not in
`LICENCES` ends it with 1; so does a known vulnerability. Those are asked for at OSV (https://osv.dev), and a machine that cannot
reach it is told so: licences are checked all the same.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from urllib.error import URLError
from urllib.request import Request, urlopen

import click
from packaging.requirements import Requirement

OSV = "https://api.osv.dev/v1/querybatch"
LICENCES = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Zlib|0BSD|CNRI-Python)\b")
"""What may be used and passed on with a product, if its notice is kept."""


@dataclass(frozen=True)
class Package:
    """An installed package; ``licence`` is what its metadata says, in its own words."""

    name: str
    version: str
    licence: str

    @property
    def is_free(self) -> bool:
        """Whether the licence is one of `LICENCES`."""
        return LICENCES.search(self.licence) is not None


@click.command(help=__doc__)
@click.option("--extra", "extras", multiple=True, default=("cpu",), show_default=True)
@click.option("--service", default=OSV, show_default=True, help="Where known vulnerabilities are asked for.")
def main(extras: Sequence[str], service: str) -> None:
    packages = sorted(installed("squeeze-onnx", extras), key=lambda package: package.name)
    for package in packages:
        click.echo(f"{package.name} {package.version}: {package.licence}")
    faults = [
        f"{each.name}: the licence {each.licence!r} is not a permissive one" for each in packages if not each.is_free
    ]
    try:
        faults += [
            f"{each.name} {each.version}: {', '.join(known)}" for each, known in vulnerabilities(packages, service)
        ]
    except URLError as error:
        click.echo(f"known vulnerabilities were not looked up: {service} does not answer ({error.reason})", err=True)
    for fault in faults:
        click.echo(fault, err=True)
    sys.exit(bool(faults))


def installed(name: str, extras: Sequence[str]) -> Iterator[Package]:
    """Yield what is installed for ``name`` with ``extras``, itself left out."""
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    known = {name}
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        package, extra = distribution(found[0]), found[1]
        if package.name.lower() not in known:
            known.add(package.name.lower())
            yield Package(package.name, package.version, licence_of(package))
        for text in package.requires or ():
            required = Requirement(text)
            if required.marker is None or required.marker.evaluate({"extra": extra}):
                waiting += [(required.name, each) for each in ("", *required.extras)]


def licence_of(package: Distribution) -> str:
    """Return the licence as an expression, as trove classifiers, or as the first line of whatever stands in its place."""
    said = package.metadata.json
    classifiers = [line for line in said.get("classifier", ()) if line.startswith("License ::")]
    named = ", ".join(line.rpartition(" :: ")[2] for line in classifiers)
    return str(said.get("license_expression") or named or said.get("license") or "unknown").strip().partition("\n")[0]


def vulnerabilities(packages: Sequence[Package], service: str) -> Iterator[tuple[Package, list[str]]]:
    """Yield the packages that something is known against, with its names. Raises URLError if ``service`` does not answer."""
    queries = [{"package": {"name": each.name, "ecosystem": "PyPI"}, "version": each.version} for each in packages]
    request = Request(service, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        results = json.load(answer)["results"]
    for package, result in zip(packages, results, strict=True):
        if known := [entry["id"] for entry in result.get("vulns", ())]:
            yield package, known


if __name__ == "__main__":
    main()
