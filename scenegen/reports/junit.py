"""JUnit XML, the format in which CI systems take results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree


@dataclass(frozen=True)
class Case:
    """One test case: an asset or a scene."""

    group: str
    """Folder or family; shown as its class."""
    name: str
    failure: str = ""
    """One line on why it failed; empty when it passed."""
    details: tuple[str, ...] = ()
    """Every finding, a line each."""
    facts: tuple[tuple[str, str], ...] = ()
    """Name and value of numbers to be kept with it."""


def junit_xml(suite_name: str, cases: Sequence[Case]) -> bytes:
    """Return a suite with a test case each, failed where a failure is named."""
    failures = sum(bool(case.failure) for case in cases)
    suite = ElementTree.Element("testsuite", name=suite_name, tests=str(len(cases)), failures=str(failures))
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=printable(case.group), name=printable(case.name))
        if case.facts:
            properties = ElementTree.SubElement(element, "properties")
            for name, value in case.facts:
                ElementTree.SubElement(properties, "property", name=name, value=printable(value))
        if case.failure:
            failure = ElementTree.SubElement(element, "failure", message=printable(case.failure))
            failure.text = "\n".join(printable(line) for line in case.details)
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)


def printable(text: str) -> str:
    """Replace characters that XML does not allow."""
    return "".join(c if c in "\t\n\r" or (c >= " " and not _forbidden(c)) else "\ufffd" for c in text)


def _forbidden(c: str) -> bool:
    return "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff"
