#!/usr/bin/env python3
"""Takes the picture of the console for README.md: deploy/console.svg.

Two nodes run in terminals of 80 x 24 (tmux), on temporary data folders. The script types the lines
of README.md, waits for each answer, captures the first terminal and draws the capture as SVG.
Run it again when the console's output has changed:

    cargo build --release
    python3 deploy/screenshot.py --binary target/release/friendchain

Needs tmux. The ports 8891 and 8892 of 127.0.0.1 must be free.
"""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time
from xml.sax.saxutils import escape

COLUMNS, ROWS = 80, 24
# One character cell and the frame around the text, in pixels.
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE = 8.4, 18, 14
MARGIN, TITLE_BAR = 16, 32
BACKGROUND, BAR, FOREGROUND = "#16181d", "#23262e", "#d8dbe2"
COLOURS = {
    30: "#5c6370", 31: "#e06c75", 32: "#98c379", 33: "#e5c07b",
    34: "#61afef", 35: "#c678dd", 36: "#56b6c2", 37: "#d8dbe2",
    90: "#7f848e", 91: "#ff7b86", 92: "#b5e890", 93: "#ffd68a",
    94: "#82c4ff", 95: "#dd9bf0", 96: "#7ad3df", 97: "#ffffff",
}  # fmt: skip
DIM = "#8b909c"
STYLE = re.compile(r"\x1b\[([0-9;]*)m")


class Terminal:
    """A tmux session of 80 x 24 that runs one command."""

    def __init__(self, server, name, command, home):
        self.server, self.name = server, name
        clean = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={home}", "TERM=screen-256color"]
        command = shlex.join([*clean, "LANG=C.UTF-8", "PS1=$ ", *command])
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        self.tmux("new-session", "-d", "-s", name, *size, command)

    def tmux(self, *words):
        command = ["tmux", "-L", self.server, "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, line):
        self.tmux("send-keys", "-t", self.name, "-l", line)
        self.tmux("send-keys", "-t", self.name, "Enter")

    def capture(self, *flags):
        return self.tmux("capture-pane", "-p", "-t", self.name, *flags)

    def cursor(self):
        position = self.tmux("display-message", "-p", "-t", self.name, "#{cursor_x} #{cursor_y}")
        return tuple(map(int, position.split()))

    def wait_for(self, text, seconds=120):
        """Waits until the screen shows `text`; a line that the terminal wrapped counts as one."""
        end = time.monotonic() + seconds
        while text not in self.capture("-J"):
            if time.monotonic() > end:
                sys.exit(f"no {text!r} within {seconds} s; the screen is:\n{self.capture()}")
            time.sleep(0.2)


def play(binary, server):
    """Types the session; returns the capture with its colours, and the cursor's position."""
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        try:
            other = ["people", "127.0.0.1", "8892", "yjf", "--data-dir", theirs]
            friend = Terminal(server, "yjf", [str(binary), *other], theirs)
            friend.wait_for("h shows help")
            shell = Terminal(server, "yzw", ["bash", "--norc", "--noprofile"], ours)
            shell.tmux("set-option", "-g", "status", "off")
            # Hides the paths of this machine: the picture shows the command as README.md has it.
            shell.type(f"friendchain() {{ {shlex.quote(str(binary))} --data-dir {ours} \"$@\"; }}")
            shell.type("clear")
            time.sleep(1)
            shell.type("friendchain people 127.0.0.1 8891 yzw")
            shell.wait_for("* yjf is here")
            shell.type("c yjf")
            shell.wait_for("yzw→yjf>")
            shell.type("Good morning to you")
            friend.wait_for("yzw: Good morning to you")
            shell.wait_for("delivered")
            friend.type("c yzw Good morning! Tea at four?")
            shell.wait_for("yjf: Good morning!")
            shell.type("ca hello, all of you")
            friend.wait_for("hello, all of you")
            shell.type("b GoodMorning!")
            shell.wait_for("is in block 1")
            shell.type("lf")
            shell.wait_for("last seen")
            time.sleep(1)
            return shell.capture("-e"), shell.cursor()
        finally:
            for name in ("yzw", "yjf"):
                target = ["tmux", "-L", server, "send-keys", "-t", name, "q", "Enter"]
                subprocess.run(target, check=False, capture_output=True)
            time.sleep(2)
            subprocess.run(["tmux", "-L", server, "kill-server"], check=False, capture_output=True)


def palette(number):
    """Returns a colour of the terminal's palette of 256."""
    if number < 16:
        return COLOURS.get((30 if number < 8 else 82) + number, FOREGROUND)
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return "#" + "".join(f"{levels[number // step % 6]:02x}" for step in (36, 6, 1))


def restyled(style, codes):
    """Returns (colour, bold, dim) after the codes of one escape sequence."""
    colour, bold, dim = style
    codes = list(map(int, codes.split(";") if codes else ["0"]))
    while codes:
        code = codes.pop(0)
        if code == 0:
            colour, bold, dim = FOREGROUND, False, False
        elif code == 22:
            bold = dim = False
        elif code == 1:
            bold = True
        elif code == 2:
            dim = True
        elif code == 39:
            colour = FOREGROUND
        elif code == 38 and codes[:1] == [5]:
            colour = palette(codes[1])
            del codes[:2]
        else:
            colour = COLOURS.get(code, colour)
    return colour, bold, dim


def runs(capture):
    """Yields (row, column, text, colour, bold) for each piece of one style."""
    style = FOREGROUND, False, False
    for row, line in enumerate(capture.split("\n")[:ROWS]):
        column = 0
        for index, piece in enumerate(STYLE.split(line)):
            if index % 2:
                style = restyled(style, piece)
                continue
            if piece.strip():
                colour, bold, dim = style
                indent = len(piece) - len(piece.lstrip())
                yield row, column + indent, piece.strip(), DIM if dim else colour, bold
            column += len(piece)


def draw(capture, cursor):
    """Draws the capture as a terminal window."""
    width = round(COLUMNS * CELL_WIDTH + 2 * MARGIN)
    height = round(ROWS * CELL_HEIGHT + 2 * MARGIN + TITLE_BAR)
    left, top = MARGIN, TITLE_BAR + MARGIN
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img">',
        "<title>A console session of friendchain</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<path d="M0 {TITLE_BAR}V8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v{TITLE_BAR - 8}z"'
        f' fill="{BAR}"/>',
    ]
    for index, fill in enumerate(("#e06c75", "#e5c07b", "#98c379")):
        svg.append(f'<circle cx="{20 + 20 * index}" cy="{TITLE_BAR // 2}" r="6" fill="{fill}"/>')
    svg.append(
        "<g font-family=\"'DejaVu Sans Mono',Menlo,Consolas,monospace\""
        f' font-size="{FONT_SIZE}" xml:space="preserve">'
    )
    for row, column, text, colour, bold in runs(capture):
        # `textLength` keeps the columns in line whatever monospace font the reader has.
        weight = ' font-weight="bold"' if bold else ""
        svg.append(
            f'<text x="{left + column * CELL_WIDTH:.1f}" y="{top + row * CELL_HEIGHT + 13}"'
            f' textLength="{len(text) * CELL_WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
            f' fill="{colour}"{weight}>{escape(text)}</text>'
        )
    x, y = left + cursor[0] * CELL_WIDTH, top + cursor[1] * CELL_HEIGHT
    svg.append(
        f'<rect x="{x:.1f}" y="{y}" width="{CELL_WIDTH}" height="{CELL_HEIGHT - 2}"'
        f' fill="{FOREGROUND}"/>'
    )
    return "\n".join([*svg, "</g>", "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the program to run")
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--out", type=pathlib.Path, default=here / "console.svg")
    options = parser.parse_args()
    capture, cursor = play(options.binary.resolve(), f"friendchain-screenshot-{os.getpid()}")
    options.out.write_text(draw(capture, cursor), encoding="utf-8")


if __name__ == "__main__":
    main()
