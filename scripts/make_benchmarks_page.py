"""Makes docs/benchmarks.md of the report that `make bench` wrote.

    python scripts/make_benchmarks_page.py [RESULTS]

RESULTS is the folder of the results, `bench-results` by default. Plots are copied beside the documentation's pictures.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
INTRO = """
Every `rhea bench …` once, on the small sets that ship. They show that each measurement runs and about where it stands;
small sets are noisy, and the rules, chats and questions in them were written for this project. `make bench` makes them
again on your machine, and `make bench DATA=folder` takes sets of your own: folders `recall`, `instructions`,
`adherence` and `dialogues` of JSON lines. The figures that other pages quote name the command that printed them.
"""


def main() -> None:
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "bench-results")
    report = (results / "report.md").read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^\]]*\]\(([^)/]+\.png)\)", report):
        shutil.copyfile(results / name, DOCS / "images" / f"bench-{name}")
        report = report.replace(f"]({name})", f"](images/bench-{name})")
    title, rest = report.split("\n", 1)
    page = f"{title}\n{INTRO}{rest.rstrip()}\n"
    (DOCS / "benchmarks.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
