"""python -m course_utils.your_data FOLDER: the report of `report_on`, its sentences printed."""

import argparse
import sys

from course_utils.your_data.folder import NotUsable


def main(arguments: list[str] | None = None) -> int:
    """0 with a report, 2 with one sentence about what the reader can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.your_data",
        description="An honest report on a folder with a CSV of file names, texts, numbers and a"
        " label.",
    )
    parser.add_argument("folder", help="the folder, or its CSV")
    parser.add_argument("--label", help="the column with the classes")
    parser.add_argument("--group", help='the column of what belongs together; "none" for none')
    parser.add_argument("--out", help="where the report is written")
    parser.add_argument("--seeds", type=int, default=5, help="splits, at least 5")
    parser.add_argument("--quick", action="store_true", help="small encoders, fewer settings")
    given = parser.parse_args(arguments)
    try:
        from course_utils.your_data.run import report_on

        report = report_on(**vars(given), progress=True)
    except NotUsable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    print(report)
    for problem in report.problems:
        print(f"  {problem}")
    print(f"\nWritten to {report.out}: report.html, model_card.md, model.pt2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
