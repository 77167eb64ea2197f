"""What is written: one HTML file that needs nothing else, and a model card in Markdown."""

import base64
import html
from typing import NamedTuple

STYLE = """
body { font: 16px/1.5 sans-serif; color: #222; background: #fff; max-width: 60em; margin: 2em auto;
  padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
caption { text-align: left; font-weight: bold; padding: .3em 0; }
th, td { border-bottom: 1px solid #bbb; padding: .25em .8em .25em 0; text-align: left;
  vertical-align: top; }
img { max-width: 100%; height: auto; }
li, dd { margin: .4em 0; }
dt { font-weight: bold; }
"""
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
WIDE, LINE, LEFT = 800, 26, 300  # of a chart, in pixels
MOST = 36  # characters of a name beside it


class Table(NamedTuple):
    title: str
    header: list[str]
    rows: list[list[str]]


class Chart(NamedTuple):
    """Points with their intervals, in per cent: (name, middle, half-width, colour)."""

    title: str
    points: list[tuple[str, float, float, str]]

    @property
    def alternative(self) -> str:
        said = [f"{name} {middle:.1f} ± {half:.1f}" for name, middle, half, _ in self.points]
        return f"{self.title}: {'; '.join(said)}."


def svg(chart: Chart) -> str:
    """The chart as a picture of its own."""
    ends = [end for _, middle, half, _ in chart.points for end in (middle - half, middle + half)]
    low, high = min(0, *ends), max(1, *ends)
    low, high = max(low, -100), min(high, 100)
    scale = (WIDE - LEFT - 20) / (high - low)

    def at(value: float) -> float:
        return LEFT + (min(max(value, low), high) - low) * scale

    height = LINE * (len(chart.points) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" width="{WIDE}"'
        f' height="{height}" font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDE}" height="{height}" fill="#fff"/>',
    ]
    bottom = height - LINE * 1.4
    for value in sorted({0, *range(-100, 101, 20)}):
        if low <= value <= high:
            parts.append(
                f'<path d="M{at(value):.1f} 4V{bottom:.1f}" stroke="#ddd"/>'
                f'<text x="{at(value):.1f}" y="{height - 14}" text-anchor="middle" fill="#222">'
                f"{value}</text>"
            )
    for i, (name, middle, half, colour) in enumerate(chart.points):
        y = LINE * (i + 0.7)
        parts.append(
            f'<text x="{LEFT - 12}" y="{y + 5:.1f}" text-anchor="end" fill="#222">'
            f"{html.escape(_short(name))}</text>"
            f'<path d="M{at(middle - half):.1f} {y:.1f}H{at(middle + half):.1f}" stroke="{colour}"'
            f' stroke-width="2"/><circle cx="{at(middle):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
        )
    return "".join([*parts, "</svg>"])


def _short(name: str) -> str:
    """A name that fits beside a chart, without its middle: what differs stands at its ends."""
    return name if len(name) <= MOST else f"{name[: MOST - 14]}…{name[-13:]}"


def html_page(
    title: str,
    findings: list[str],
    tables: list[Table],
    charts: list[Chart],
    words: dict[str, str] | None = None,
) -> str:
    """The whole report; of `words` those are explained that stand in it."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{html.escape(title)}</h1>\n<h2>What was found</h2>",
        '<p><a href="#words">What the words mean</a></p>' if words else "",
        "<ul>",
        *(f"<li>{html.escape(text)}</li>" for text in findings),
        "</ul>\n<h2>Figures</h2>",
    ]
    for chart in charts:
        data = base64.b64encode(svg(chart).encode()).decode()
        parts.append(
            f"<figure><figcaption>{html.escape(chart.title)}</figcaption>"
            f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(chart.alternative)}">'
            "</figure>"
        )
    parts.append("<h2>Tables</h2>")
    for table in tables:
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
        parts.append(f"<table><caption>{html.escape(table.title)}</caption><tr>{head}</tr>")
        for row in table.rows:
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
    text = "\n".join(parts).lower()
    told = {word: why for word, why in (words or {}).items() if word.lower() in text}
    if told:
        parts += ['<h2 id="words">Words</h2>\n<dl>']
        parts += [
            f"<dt>{html.escape(word)}</dt><dd>{html.escape(why)}</dd>" for word, why in told.items()
        ]
        parts.append("</dl>")
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def markdown(title: str, sections: dict[str, list[str] | Table]) -> str:
    """A card: sections of sentences or tables."""
    lines = [f"# {title}", ""]
    for name, content in sections.items():
        lines += [f"## {name}", ""]
        if isinstance(content, Table):
            lines += [_line(content.header), _line(["---"] * len(content.header))]
            lines += [_line(row) for row in content.rows] + [""]
        else:
            lines += [f"- {' '.join(text.split())}" for text in content] + [""]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"
