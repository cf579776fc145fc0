import { FileError } from "../../lib/errors.ts";
import { JsonLinesWriter, readJsonLines, recoverJsonLines } from "../../lib/jsonl.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";

/** Runs `body` with the path of a file of this content. */
async function withFile(
  content: string | Uint8Array,
  body: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(path, bytes);
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("readJsonLines() gives values with their line numbers", async () => {
  await withFile('\ufeff{"a":1}\r\n[2]\n"\u2028"\n', async (path) => {
    assertEquals(await Array.fromAsync(readJsonLines(path)), [
      { line: 1, value: { a: 1 } },
      { line: 2, value: [2] },
      { line: 3, value: "\u2028" },
    ]);
  });
});

Deno.test("readJsonLines() needs no newline at the end and allows blank lines there", async () => {
  await withFile("1\n2", async (path) => {
    assertEquals((await Array.fromAsync(readJsonLines(path))).length, 2);
  });
  await withFile("1\n2\n\n  \n", async (path) => {
    assertEquals((await Array.fromAsync(readJsonLines(path))).length, 2);
  });
  await withFile("", async (path) => {
    assertEquals(await Array.fromAsync(readJsonLines(path)), []);
  });
});

Deno.test("readJsonLines() reads lines longer than the reader's chunks", async () => {
  const long = ["x".repeat(200_000), "é".repeat(100_001), ""];
  await withFile(long.map((text) => `${JSON.stringify(text)}\n`).join(""), async (path) => {
    const found = await Array.fromAsync(readJsonLines(path), ({ value }) => value);
    assertEquals(found, long);
  });
});

Deno.test("readJsonLines() throws if a line is not JSON, blank or not UTF-8", async () => {
  await withFile('{"a":1}\n{"a":\n', async (path) => {
    await assertRejects(
      () => Array.fromAsync(readJsonLines(path)),
      FileError,
      `Cannot read ${path}: line 2 is not JSON (`,
    );
  });
  await withFile("1\n\n2\n", async (path) => {
    await assertRejects(
      () => Array.fromAsync(readJsonLines(path)),
      FileError,
      `Cannot read ${path}: line 2 is blank`,
    );
  });
  await withFile(new Uint8Array([0x31, 0x0a, 0x22, 0xc3, 0x22, 0x0a]), async (path) => {
    await assertRejects(
      () => Array.fromAsync(readJsonLines(path)),
      FileError,
      `Cannot read ${path}: line 2 is not UTF-8 text`,
    );
  });
});

Deno.test("readJsonLines() throws if the file is missing or a folder", async () => {
  const folder = await Deno.makeTempDir();
  await assertRejects(
    () => Array.fromAsync(readJsonLines(`${folder}/none.jsonl`)),
    FileError,
    `Cannot read ${folder}/none.jsonl: it does not exist`,
  );
  await assertRejects(
    () => Array.fromAsync(readJsonLines(folder)),
    FileError,
    `Cannot read ${folder}`,
  );
  await Deno.remove(folder);
});

Deno.test("JsonLinesWriter.append() adds one line behind what is there", async () => {
  await withFile('{"index":0}\n', async (path) => {
    using writer = await JsonLinesWriter.open(path);
    await writer.append({ index: 1, pred: "a\nb" });
    assertEquals(await Deno.readTextFile(path), '{"index":0}\n{"index":1,"pred":"a\\nb"}\n');
  });
});

Deno.test("JsonLinesWriter.append() uses the given format, which must give one line", async () => {
  await withFile("", async (path) => {
    using writer = await JsonLinesWriter.open(path, { format: (record) => `"<${record}>"` });
    await writer.append(5);
    assertEquals(await Deno.readTextFile(path), '"<5>"\n');
    await assertRejects(() => writer.append("a\nb"), TypeError, "must be one line of JSON");
    assertEquals(await Deno.readTextFile(path), '"<5>"\n');
  });
});

Deno.test("JsonLinesWriter.append() throws after disposal", async () => {
  await withFile("", async (path) => {
    const writer = await JsonLinesWriter.open(path);
    writer[Symbol.dispose]();
    writer[Symbol.dispose]();
    await assertRejects(() => writer.append(1), TypeError, `Cannot write ${path} as it is closed`);
  });
});

Deno.test("JsonLinesWriter.open() throws if the folder is missing", async () => {
  await assertRejects(
    () => JsonLinesWriter.open("/nonexistent-folder/a.jsonl"),
    FileError,
    "Cannot write /nonexistent-folder/a.jsonl: ",
  );
});

Deno.test("JsonLinesWriter.append() throws if the disk is full", async () => {
  // Deno opens a device only with all permissions, which a program given by text has.
  const program = `
    import { JsonLinesWriter } from "${new URL("../../lib/jsonl.ts", import.meta.url)}";
    using writer = await JsonLinesWriter.open("/dev/full");
    await writer.append(1).catch((error) => console.log(error.name, error.message));
  `;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", program] }).output();
  assertStringIncludes(new TextDecoder().decode(stdout), "FileError Cannot write /dev/full: ");
});

Deno.test("recoverJsonLines() cuts an unfinished last line wherever it was cut", async () => {
  const kept = '{"index":0}\n{"index":1}\n';
  const last = '{"index":2,"pred":"é"}';
  const bytes = new TextEncoder().encode(last);
  for (let length = 1; length < bytes.byteLength; length++) {
    const cut = bytes.subarray(0, length);
    await withFile(new Uint8Array([...new TextEncoder().encode(kept), ...cut]), async (path) => {
      assertEquals(await recoverJsonLines(path), length);
      assertEquals(await Deno.readTextFile(path), kept);
    });
  }
  await withFile(kept + last, async (path) => {
    assertEquals(await recoverJsonLines(path), 0);
    assertEquals(await Deno.readTextFile(path), `${kept}${last}\n`);
  });
});

Deno.test("recoverJsonLines() finds a line's start far from the end", async () => {
  await withFile(`1\n${"x".repeat(300_000)}`, async (path) => {
    assertEquals(await recoverJsonLines(path), 300_000);
    assertEquals(await Deno.readTextFile(path), "1\n");
  });
});

Deno.test("recoverJsonLines() cuts blank lines at the end, after which nothing could be appended", async () => {
  const record = '{"index":0}\n';
  for (const blank of ["\n", "\n\n", "  \n", "\r\n", "   ", `${" ".repeat(200_000)}\n`]) {
    await withFile(record + blank, async (path) => {
      assertEquals(await recoverJsonLines(path), blank.length, JSON.stringify(blank.slice(0, 9)));
      assertEquals(await Deno.readTextFile(path), record);
    });
  }
  await withFile("\n \n", async (path) => {
    assertEquals(await recoverJsonLines(path), 3);
    assertEquals(await Deno.readTextFile(path), "");
  });
  for (const mark of ["\ufeff", "\ufeff\n", "\ufeff \n\n"]) {
    await withFile(mark, async (path) => {
      await recoverJsonLines(path);
      assertEquals(await Deno.readTextFile(path), "");
    });
  }
  await withFile(`\ufeff${record}`, async (path) => {
    assertEquals(await recoverJsonLines(path), 0);
  });
});

Deno.test("what a reader takes for a blank line, recoverJsonLines() cuts; nothing else is one", async () => {
  for (const blank of ["\n", " \n", "\t\n", "\r\n", " \t\r\n\n"]) {
    await withFile(`[1]\n${blank}`, async (path) => {
      assertEquals((await Array.fromAsync(readJsonLines(path))).length, 1, JSON.stringify(blank));
      assertEquals(await recoverJsonLines(path), blank.length, JSON.stringify(blank));
    });
  }
  // White space of JavaScript's trim(), but not of JSON.
  for (const odd of ["\ufeff", "\u00a0", "\u2028", "\v", "\f"]) {
    await withFile(`[1]\n${odd}\n`, async (path) => {
      const error = await assertRejects(() => Array.fromAsync(readJsonLines(path)), FileError);
      assertStringIncludes(error.message, "line 2 is not JSON");
      assertEquals(await recoverJsonLines(path), 0, JSON.stringify(odd));
    });
  }
});

Deno.test("JsonLinesWriter.append() refuses a file that was removed or replaced meanwhile", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/a.jsonl`;
  try {
    for (
      const [word, change] of [
        ["removed", () => Deno.remove(path)],
        ["removed", () => Deno.rename(path, `${folder}/b.jsonl`)],
        ["replaced", async () => {
          await Deno.remove(path);
          await Deno.writeTextFile(path, "");
        }],
      ] as const
    ) {
      using writer = await JsonLinesWriter.open(path);
      await writer.append({ index: 0 });
      await change();
      await assertRejects(
        () => writer.append({ index: 1 }),
        FileError,
        `Cannot write ${path} as it was ${word} while the run went on`,
      );
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("recoverJsonLines() leaves whole, empty and missing files alone", async () => {
  await withFile("1\n2\n", async (path) => {
    assertEquals(await recoverJsonLines(path), 0);
    assertEquals(await Deno.readTextFile(path), "1\n2\n");
  });
  await withFile("", async (path) => assertEquals(await recoverJsonLines(path), 0));
  assertEquals(await recoverJsonLines("/nonexistent-folder/a.jsonl"), 0);
});
