"""What was measured, as Markdown for people and JSON for programs. Numbers come as they are; nothing is
measured here.
"""

import json
from pathlib import Path


def write(folder, name, result, text):
    """Writes both forms; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.md", folder / f"{name}.json"
    paths[0].write_text(text)
    paths[1].write_text(json.dumps(result, indent=2) + "\n")
    return paths


def table(head, rows):
    """A table; the first column is text, the others are numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def number(value, digits=3):
    """A number to so many significant digits, without an exponent; a dash for none."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}'):g}"


def interval(ratio):
    """A median with its interval."""
    if ratio.low is None:
        return number(ratio.median)
    return f"{number(ratio.median)} ({number(ratio.low)} to {number(ratio.high)})"


def preface(title, result):
    """Date, machine and versions."""
    machine = result["machine"]
    pinned = (
        "client and server on a core each"
        if result["is_pinned"]
        else ("**client and server are not pinned to different cores**: there are fewer than two")
    )
    versions = ", ".join(f"{name} ({said or 'says no version'})" for name, said in result["versions"].items())
    return (
        f"# {title}\n\n{result['date']}, {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gib']} GiB, Linux {machine['kernel']}; {pinned}; load average "
        f"{machine['load_average']} before.\n\nVersions: {versions}.\n"
    )
