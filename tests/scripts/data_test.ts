import { createHash } from "node:crypto";
import { FileError } from "../../lib/errors.ts";
import { downloadData, importData } from "../../scripts/download/data.ts";
import {
  DATA_FILES,
  DATA_GROUPS,
  type DataArchive,
  type DataFile,
  PUNKT_ARCHIVE,
} from "../../scripts/download/data_files.ts";
import type { Progress } from "../../scripts/download/progress.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { type Answer, type Asked, type FileServer, serveFiles } from "../helpers/file_server.ts";
import { inFolder } from "../helpers/folder.ts";
import { runScript } from "../helpers/script.ts";
import { zipOf } from "../helpers/zip.ts";
import { sharedFolder } from "../helpers/shared.ts";

const PATIENCE = { attempts: 2, firstDelayMs: 1, stallMs: 10_000 };
const shared = sharedFolder();

const TEXTS = { "a.txt": "first\n", "b.json": "[1]", "sub/c.txt": "third", "sub/d.txt": "fourth" };

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function fileOf(name: keyof typeof TEXTS, addresses: readonly string[]): DataFile {
  const bytes = bytesOf(TEXTS[name]);
  const hex = createHash("sha256").update(bytes).digest("hex");
  const check = { bytes: bytes.length, digest: { kind: "sha256" as const, hex } };
  return { group: "words", name, check, addresses };
}

/** Two files with addresses, two of an archive. */
function filesAt(server: FileServer): { files: DataFile[]; archive: DataArchive } {
  const archive: DataArchive = {
    group: "punkt",
    name: "c_and_d.zip",
    maxBytes: 1 << 20,
    addresses: [`${server.address}/pack`],
    maxMemberBytes: 1000,
  };
  const files = [
    fileOf("a.txt", [`${server.address}/a`]),
    fileOf("b.json", [`${server.address}/b`]),
    fileOf("sub/c.txt", []),
    fileOf("sub/d.txt", []),
  ];
  return { files, archive };
}

const BODIES: Readonly<Record<string, Uint8Array>> = {
  "/a": bytesOf(TEXTS["a.txt"]),
  "/b": bytesOf(TEXTS["b.json"]),
  "/pack": zipOf({
    "sub/c.txt": bytesOf(TEXTS["sub/c.txt"]),
    "sub/d.txt": bytesOf(TEXTS["sub/d.txt"]),
    "../outside.txt": bytesOf("not wanted"),
  }),
};

function rightAnswer({ path }: Asked): Answer {
  const body = BODIES[path];
  return body === undefined ? { status: 404 } : { body };
}

interface Scene {
  readonly folder: string;
  readonly server: FileServer;
  readonly notes: string[];
  download(options?: { mirror?: string }): Promise<void>;
}

async function withData(
  answer: (asked: Asked) => Answer,
  run: (scene: Scene) => Promise<void>,
): Promise<void> {
  await inFolder({}, async (parent) => {
    await using server = serveFiles(answer);
    const notes: string[] = [];
    const progress: Progress = { update: () => {}, note: (text) => notes.push(text) };
    const folder = `${parent}/data`;
    await run({
      folder,
      server,
      notes,
      download: (options = {}) =>
        downloadData(folder, { ...filesAt(server), progress, patience: PATIENCE, ...options }),
    });
  });
}

/** All files below a folder with their texts. */
function contents(folder: string, below = ""): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, isDirectory } of Deno.readDirSync(`${folder}/${below}`)) {
    const path = `${below}${name}`;
    if (isDirectory) Object.assign(found, contents(folder, `${path}/`));
    else found[path] = Deno.readTextFileSync(`${folder}/${path}`);
  }
  return found;
}

Deno.test("downloadData() fetches files and unpacks the archive, and then asks no more", async () => {
  await withData(rightAnswer, async ({ folder, server, notes, download }) => {
    await download();
    assertEquals(contents(folder), TEXTS);
    assertEquals(notes, [
      "a.txt: fetched 6 B",
      "b.json: fetched 3 B",
      `c_and_d.zip: fetched ${BODIES["/pack"]?.length} B`,
      "sub/c.txt: unpacked 5 B",
      "sub/d.txt: unpacked 6 B",
    ]);
    await download();
    assertEquals(server.asked.length, 3);
    assertEquals(notes.at(-1), "sub/d.txt: already there");
  });
});

Deno.test("downloadData() fetches a damaged file again", async () => {
  await withData(rightAnswer, async ({ folder, download }) => {
    await download();
    await Deno.writeTextFile(`${folder}/a.txt`, "other\n");
    await Deno.writeTextFile(`${folder}/sub/c.txt`, "");
    await download();
    assertEquals(contents(folder), TEXTS);
  });
});

Deno.test("downloadData() fetches the others when one fails, and says which did", async () => {
  const answer = (asked: Asked): Answer => {
    if (asked.path === "/a") return { status: 404 };
    return asked.path === "/pack" ? { body: bytesOf("no archive") } : rightAnswer(asked);
  };
  await withData(answer, async ({ folder, download }) => {
    const error = await assertRejects(() => download(), FileError);
    assertMatch(error.message, /^Cannot download a\.txt: .* 404 .*; Cannot unpack c_and_d\.zip: /);
    assertEquals(contents(folder), { "b.json": TEXTS["b.json"] });
  });
});

Deno.test("downloadData() refuses members of other content and leaves nothing of them", async () => {
  const packs: readonly (readonly [Record<string, Uint8Array>, string])[] = [
    [{ "sub/c.txt": bytesOf("thirt"), "sub/d.txt": bytesOf("fourth") }, "must be the known one"],
    [{ "sub/d.txt": bytesOf("fourth") }, "as it must hold sub/c.txt: it does not"],
    [{ "sub/c.txt": new Uint8Array(2000) }, "sub/c.txt may have at most "],
  ];
  for (const [members, message] of packs) {
    const pack = zipOf(members);
    const answer = (asked: Asked) => asked.path === "/pack" ? { body: pack } : rightAnswer(asked);
    await withData(answer, async ({ folder, download }) => {
      await assertRejects(() => download(), FileError, message);
      assertEquals(Object.keys(contents(folder)).sort(), ["a.txt", "b.json"]);
    });
  }
});

Deno.test("downloadData() takes everything from a mirror", async () => {
  const answer = ({ path }: Asked): Answer => {
    const [, name = ""] = /^\/mirror\/(.*)$/.exec(path) ?? [];
    if (name === "c_and_d.zip") return { body: BODIES["/pack"] ?? new Uint8Array() };
    return name in TEXTS ? { body: bytesOf(TEXTS[name as keyof typeof TEXTS]) } : { status: 404 };
  };
  await withData(answer, async ({ folder, server, download }) => {
    await download({ mirror: `${server.address}/mirror/` });
    assertEquals(contents(folder), TEXTS);
  });
});

Deno.test("downloadData() says when the folder cannot be written", async () => {
  await withData(rightAnswer, async ({ folder, download }) => {
    await Deno.writeTextFile(folder, "a file");
    await assertRejects(() => download(), FileError, "Cannot read ");
  });
});

const QUESTIONS: DataFile = {
  ...fileOf("b.json", []),
  acceptsCopy: (value) => Array.isArray(value) && value.length > 0,
};

function note(list: string[]): Progress {
  return { update: () => {}, note: (text) => list.push(text) };
}

Deno.test("importData() copies what is the known content or an accepted other one", async () => {
  await inFolder({ "from/a.txt": TEXTS["a.txt"], "from/b.json": "[2, 3]" }, async (root) => {
    const notes: string[] = [];
    const files = [fileOf("a.txt", []), QUESTIONS];
    await importData(`${root}/from`, `${root}/to`, { files, progress: note(notes) });
    assertEquals(contents(`${root}/to`), { "a.txt": TEXTS["a.txt"], "b.json": "[2, 3]" });
    assertEquals(notes, ["a.txt: copied 6 B", "b.json: copied 6 B (not the official file)"]);
  });
});

Deno.test("importData() checks every copy before it writes any", async () => {
  const cases: readonly (readonly [Record<string, string>, string])[] = [
    [{ "from/a.txt": TEXTS["a.txt"] }, "/from/b.json: "],
    [{ "from/a.txt": "firsT\n", "from/b.json": "[1]" }, "/from/a.txt as its content must be the"],
    [{ "from/a.txt": TEXTS["a.txt"], "from/b.json": "[]" }, "must hold questions in the form"],
    [{ "from/a.txt": TEXTS["a.txt"], "from/b.json": "[" }, "/from/b.json: it is not JSON ("],
  ];
  for (const [texts, message] of cases) {
    await inFolder(texts, async (root) => {
      const files = [fileOf("a.txt", []), QUESTIONS];
      await assertRejects(
        () => importData(`${root}/from`, `${root}/to`, { files, progress: note([]) }),
        FileError,
        message,
      );
      assertEquals(Array.from(Deno.readDirSync(root), ({ name }) => name), ["from"]);
    });
  }
});

Deno.test("DATA_FILES cover every group, with a size and a hash and an address or the archive", () => {
  assertEquals(new Set(DATA_FILES.map(({ group }) => group)), new Set(DATA_GROUPS));
  for (const { name, group, check, addresses } of DATA_FILES) {
    assertMatch(check.digest.hex, /^[0-9a-f]{64}$/);
    assert(check.bytes > 0, name);
    assertEquals(addresses.length === 0, group === PUNKT_ARCHIVE.group);
    for (const address of addresses) assertMatch(address, /^https?:\/\/[\w.]+\/\S+$/);
  }
});

Deno.test({
  name: "download_data.ts imports the copies of the shared folder",
  ignore: shared === undefined,
  async fn() {
    await inFolder({}, async (root) => {
      const from = ["--from", `${shared}/ruler/data`];
      const env = { STARX_DATA: `${root}/data` };
      const { code, stdout, stderr } = await runScript("scripts/download_data.ts", from, { env });
      assertEquals([code, stdout], [0, ""], stderr);
      for (const { name } of DATA_FILES) {
        assertEquals(
          await Deno.readFile(`${root}/data/${name}`),
          await Deno.readFile(`${shared}/ruler/data/${name}`),
        );
      }
      assertMatch(stderr, /hotpotqa\.json: copied .* \(not the official file\)\n/);
      assertMatch(
        stderr,
        /source data \(essays, words, squad, hotpotqa, punkt\) is in .*\/data\n$/,
      );
    });
  },
});

Deno.test({
  name: "download_data.ts fetches from a mirror that drops connections, one line per file",
  ignore: shared === undefined,
  async fn() {
    const answer = ({ path, earlier }: Asked): Answer => {
      const body = Deno.readFileSync(`${shared}/ruler/data${path}`);
      return { body, ranges: true, ...(earlier === 0 ? { dropAfter: 1000 } : {}) };
    };
    await using server = serveFiles(answer);
    await inFolder({}, async (root) => {
      const args = ["--data_dir", `${root}/data`, "--only", "words", "--mirror", server.address];
      const { code, stderr } = await runScript("scripts/download_data.ts", args, { env: {} });
      const retried = stderr.split("\n").filter((line) => /attempt 2 of 6 in 1 s$/.test(line));
      assertEquals(retried.map((line) => line.split(":")[0]), [
        ...["adjectivelist.txt", "nounlist.txt", "verblist.txt"],
      ]);
      const lines = stderr.split("\n").filter((line) => !/attempt|^Cannot/.test(line)).join("\n");
      assertEquals(
        [code, lines],
        [
          0,
          "adjectivelist.txt: fetched 7.2 KiB\nnounlist.txt: fetched 53.5 KiB\n" +
          `verblist.txt: fetched 6.8 KiB\nRULER's source data (words) is in ${root}/data\n`,
        ],
      );
      assertEquals(server.asked.length, 6);
    });
  },
});

const REFUSALS: readonly (readonly [args: readonly string[], code: number, line: RegExp])[] = [
  [["--foo"], 2, /^error: --foo: is not a flag of 'data' \(see --help\)\n$/],
  [
    ["--only", "jokes"],
    2,
    /^error: --only: must be one of essays, words, squad, hotpotqa, punkt, english/,
  ],
  [["--mirror", "ftp://x"], 2, /^error: --mirror: must be an http address: current value is/],
  [["--mirror", "http://x", "--from", "x"], 2, /^error: --mirror: goes with downloads only/],
  [["--data_dir", ""], 2, /^error: --data_dir: must not be empty/],
  [["--from", "/nowhere"], 3, /^error: Cannot import \/nowhere\/PaulGrahamEssays\.json: .*\n$/],
  [["--only", "words", "--mirror", "http://localhost"], 3, /^error: Cannot download adjectivelist/],
];

for (const [args, expected, line] of REFUSALS) {
  Deno.test(`download_data.ts ends with ${expected} and one line on '${args.join(" ")}'`, async () => {
    await inFolder({}, async (root) => {
      const env = { STARX_DATA: `${root}/data` };
      const { code, stdout, stderr } = await runScript("scripts/download_data.ts", args, { env });
      assertEquals([code, stdout], [expected, ""], stderr);
      assertMatch(stderr, line);
      assertEquals(stderr.trim().split("\n").length, 1);
      const left = [...Deno.readDirSync(root)].length === 0 ? {} : contents(`${root}/data`);
      assertEquals(left, {});
    });
  });
}

Deno.test("download_data.ts fetches BABILong's rows as the hub lists them", async () => {
  const body = bytesOf("PAR1 not really");
  const file = (name: string) => ({
    rfilename: name,
    size: body.length,
    lfs: { size: body.length, sha256: createHash("sha256").update(body).digest("hex") },
  });
  const names = ["16k/qa1/0000.parquet", "16k/qa1/0001.parquet", "16k/qa2/0000.parquet", "x.md"];
  const answer = ({ path }: Asked): Answer => {
    if (path.startsWith("/api/datasets/RMT-team/babilong-1k-samples/revision/refs%2Fconvert%2F")) {
      const list = { sha: "0123456789", siblings: names.map(file) };
      return { body: bytesOf(JSON.stringify(list)) };
    }
    const isFile = path.startsWith(
      "/datasets/RMT-team/babilong-1k-samples/resolve/0123456789/16k/",
    );
    return isFile ? { body } : { status: 404 };
  };
  await using server = serveFiles(answer);
  await inFolder({}, async (root) => {
    const run = (task: string) =>
      runScript("scripts/download_data.ts", [
        ...["--data_dir", `${root}/data`, "--benchmark", "babilong", "--splits", "16k"],
        ...["--tasks", task, "--endpoint", server.address],
      ], { env: {} });
    const { code, stderr } = await run("qa1");
    assertEquals(code, 0, stderr);
    const found = Array.from(Deno.readDirSync(`${root}/data/babilong/16k/qa1`), ({ name }) => name);
    assertEquals(found.sort(), ["0000.parquet", "0001.parquet"]);
    const missing = await run("qa3");
    assertEquals(missing.code, 3);
    assertMatch(missing.stderr, /Cannot fetch qa3 of 16k as .* must have it: it has not/);
  });
});
