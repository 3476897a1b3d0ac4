"""The text inside generated transcripts: a pool of invented lines, escaped for JSON once and for all."""

from __future__ import annotations

import base64
import bisect
import functools
import json
import random
from collections.abc import Callable

WORD_LIST = (
    "the a of and to in is it for with on that this value request response session project token cache model "
    "handler parse buffer index file path error config client server async await return import function class "
    "update remove insert select where group order limit offset migration schema table column row trigger "
    "policy auth user team budget invoice price rate window daily weekly monthly total input output usage "
    "retry timeout queue worker thread process memory heap stack frame latency throughput benchmark"
)
IDENTIFIER_LIST = (
    "load_entries push_row read_file parse_line SessionStore usageFor projectDir get_pricing to_json from_rows "
    "TokenBucket renderTable fetchAll upsert_many build_index scan_dir merge_totals LedgerRow CostModel "
    "day_bucket normalize_path ensure_schema flush_pending"
)
WORDS = tuple(WORD_LIST.split())
IDENTIFIERS = tuple(IDENTIFIER_LIST.split())
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
FILE_SUFFIXES = ("py", "ts", "rs", "go", "sql")
LOG_LEVELS = ("INFO", "WARN", "DEBUG", "ERROR")
POOL_LINES = 24_000
BLOB_BYTES = 1 << 19
MEAN_LINE_BYTES = 52
MAX_SLICE_LINES = 400


class PoolWriter:
    """Writes lines such as a tool prints: code, logs, prose, diffs, and text that only looks like usage."""

    def __init__(self, generator: random.Random) -> None:
        self.random = generator
        self.indent = ""
        self.name = ""
        self.other_name = ""

    def line(self) -> str:
        """One line, drawn by its share of the pool."""
        share = self.random.random()
        self.indent = "    " * self.random.randrange(4)
        self.name = self.random.choice(IDENTIFIERS)
        self.other_name = self.random.choice(IDENTIFIERS)
        return LINE_KINDS[bisect.bisect_right(LINE_SHARES, share)](self)

    def word(self) -> str:
        return self.random.choice(WORDS)

    def words(self, count: int) -> str:
        return " ".join(self.random.choice(WORDS) for _ in range(count))

    def below(self, limit: int) -> int:
        return self.random.randrange(limit)

    def assignment(self) -> str:
        return f"{self.indent}{self.name} = {self.other_name}({self.word()}, {self.below(9999)})"

    def definition(self) -> str:
        return (
            f"{self.indent}def {self.name}(self, {self.word()}: str, {self.word()}: int = {self.below(99)})"
            f" -> {self.other_name}:"
        )

    def condition(self) -> str:
        return (
            f"{self.indent}if {self.name} is not None and {self.other_name}.{self.word()} > {self.below(999)}:"
            f"  # {self.words(5)}"
        )

    def member(self) -> str:
        return f'{self.indent}"{self.word()}": "{self.words(3)}", "{self.word()}": {self.below(10**6)},'

    def log_entry(self) -> str:
        return (
            f"2026-{self.random.randrange(1, 13):02}-{self.random.randrange(1, 29):02}T{self.below(24):02}:"
            f"{self.below(60):02}:{self.below(60):02}.{self.below(1000):03}Z {self.random.choice(LOG_LEVELS)}"
            f" [{self.name}] {self.words(8)} id={self.random.getrandbits(64):016x}"
        )

    def search_hit(self) -> str:
        return (
            f"src/{self.word()}/{self.name}.{self.random.choice(FILE_SUFFIXES)}:{self.random.randrange(1, 900)}:"
            f"{self.random.randrange(1, 80)}: {self.words(6)}"
        )

    def bullet(self) -> str:
        return f"- **{self.words(2)}**: {self.words(self.random.randrange(6, 22))}."

    def sentence(self) -> str:
        return self.words(self.random.randrange(10, 40)).capitalize() + "."

    def blank(self) -> str:
        return ""

    def closing_brace(self) -> str:
        return f"{self.indent}}}"

    def table_row(self) -> str:
        return f"\t{self.name}\t{self.below(10**7)}\t{self.random.random():.6f}\t{self.words(2)}"

    def coloured(self) -> str:
        return f"\x1b[3{self.below(8)}m{self.words(3)}\x1b[0m ✓ {self.name}"

    def usage_member(self) -> str:
        return (
            f'{self.indent}"usage": {{"input_tokens": {self.below(999)}, "output_tokens": {self.below(999)},'
            f' "cache_read_input_tokens": {self.below(99999)}}},'
        )

    def usage_record(self) -> str:
        return (
            f'{{"type":"assistant","message":{{"id":"msg_{self.random.getrandbits(40):x}","usage":'
            f'{{"input_tokens":{self.below(99)},"output_tokens":{self.below(99)}}}}}}}'
        )

    def unicode_table(self) -> str:
        return f"│ {self.words(2)} │ {self.below(10**5):>8} │ → café naïve 部署完成 {self.words(2)} 🚀"

    def windows_path(self) -> str:
        return f'C:\\Users\\dev\\{self.word()}\\{self.name}.cs({self.below(900)}): "{self.words(4)}"'


LINE_KINDS: tuple[Callable[[PoolWriter], str], ...] = (
    PoolWriter.assignment,
    PoolWriter.definition,
    PoolWriter.condition,
    PoolWriter.member,
    PoolWriter.log_entry,
    PoolWriter.search_hit,
    PoolWriter.bullet,
    PoolWriter.sentence,
    PoolWriter.blank,
    PoolWriter.closing_brace,
    PoolWriter.table_row,
    PoolWriter.coloured,
    PoolWriter.usage_member,
    PoolWriter.usage_record,
    PoolWriter.unicode_table,
    PoolWriter.windows_path,
)
# The share of the pool at which the next kind begins.
LINE_SHARES = (0.20, 0.32, 0.40, 0.47, 0.55, 0.62, 0.72, 0.80, 0.84, 0.88, 0.91, 0.93, 0.95, 0.965, 0.98)


@functools.cache
def make_pool(seed: str) -> list[str]:
    """The lines that all transcripts of one seed cut their text from, each as it stands inside a JSON string."""
    writer = PoolWriter(random.Random(f"pool:{seed}"))
    return [json.dumps(writer.line(), ensure_ascii=False)[1:-1] for _ in range(POOL_LINES)]


@functools.cache
def make_blob(seed: str) -> str:
    """The base64 text that images and signatures are cut from."""
    return base64.b64encode(random.Random(f"b64:{seed}").randbytes(BLOB_BYTES)).decode().rstrip("=")


class TextSource:
    """Every invented piece of one transcript, drawn from one private random generator."""

    def __init__(self, *, seed: str, number: int) -> None:
        self.random = random.Random(f"{seed}:{number}")
        self.pool = make_pool(seed)
        self.base64_text = make_blob(seed)

    def word(self) -> str:
        return self.random.choice(WORDS)

    def identifier(self) -> str:
        return self.random.choice(IDENTIFIERS)

    def uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def base58(self, length: int) -> str:
        return "".join(self.random.choices(BASE58, k=length))

    def text(self, size: int) -> str:
        """At least `size` characters of pool lines, joined by escaped newlines."""
        start = self.random.randrange(len(self.pool))
        parts: list[str] = []
        length = 0
        while length < size:
            count = max(1, min(MAX_SLICE_LINES, (size - length) // MEAN_LINE_BYTES))
            part = "\\n".join(self.pool[start : start + count])
            parts.append(part)
            length += len(part) + 2
            start = (start + count + self.random.randrange(97)) % len(self.pool)
        return "\\n".join(parts)

    def pool_lines(self, draw_size: Callable[[], int]) -> list[str]:
        """Neighbouring pool lines, such as a file that was read; the size is drawn after the place."""
        start = self.random.randrange(len(self.pool) - 1600)
        return self.pool[start : start + max(3, min(1500, draw_size() // MEAN_LINE_BYTES))]

    def blob(self, size: int) -> str:
        """`size` characters of base64."""
        start = self.random.randrange(len(self.base64_text) // 2)
        piece = self.base64_text[start : start + size]
        while len(piece) < size:
            piece += self.base64_text[: size - len(piece)]
        return piece
