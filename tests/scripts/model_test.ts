import { createHash } from "node:crypto";
import { FileError } from "../../lib/errors.ts";
import { downloadModel } from "../../scripts/download/model.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { type Answer, type Asked, type FileServer, serveFiles } from "../helpers/file_server.ts";
import { inFolder } from "../helpers/folder.ts";
import { runScript } from "../helpers/script.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const NAME = "owner/model-1b";
const PATIENCE = { attempts: 2, firstDelayMs: 1, stallMs: 10_000 };

/** A repository: weights are large files, the others lie in git. */
const FILES: Readonly<Record<string, string>> = {
  ".gitattributes": "*.safetensors filter=lfs",
  "config.json": '{"model_type":"llama"}',
  "LICENSE": "the licence",
  "model.safetensors": "weights ".repeat(1000),
  "original/consolidated.00.pth": "the same weights",
  "pytorch_model.bin": "the same weights",
  "tokenizer.json": "{}",
};
const WANTED = ["LICENSE", "config.json", "model.safetensors", "tokenizer.json"];

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function listing(files: Readonly<Record<string, string>> = FILES): Record<string, unknown> {
  const siblings = Object.entries(files).map(([rfilename, text]) => {
    const { length: size } = bytesOf(text);
    const blobId = createHash("sha1").update(`blob ${size}\0${text}`).digest("hex");
    if (!/\.(safetensors|pth|bin)$/.test(rfilename)) return { rfilename, size, blobId };
    const sha256 = createHash("sha256").update(text).digest("hex");
    // The hash of a large file in git is its pointer's.
    return { rfilename, size, blobId: COMMIT, lfs: { size, sha256, pointerSize: 130 } };
  });
  return { id: NAME, sha: COMMIT, siblings };
}

const LIST_PATH = `/api/models/${NAME}/revision/main?blobs=true`;

/** A hub that has the model. */
function hub({ path }: Asked): Answer {
  if (path === LIST_PATH) return { body: bytesOf(JSON.stringify(listing())) };
  const text = FILES[path.replace(`/${NAME}/resolve/${COMMIT}/`, "")];
  return text === undefined ? { status: 404 } : { body: bytesOf(text), ranges: true };
}

interface Scene {
  readonly server: FileServer;
  readonly notes: string[];
  readonly folder: string;
  download(options?: { token?: string; revision?: string }): Promise<void>;
  /** Names in the folder. */
  names(): string[];
}

async function withHub(
  answer: (asked: Asked) => Answer,
  run: (scene: Scene) => Promise<void>,
): Promise<void> {
  await inFolder({}, async (parent) => {
    await using server = serveFiles(answer);
    const notes: string[] = [];
    const folder = `${parent}/models/owner_model-1b`;
    await run({
      server,
      notes,
      folder,
      download: ({ token, revision = "main" } = {}) =>
        downloadModel(folder, {
          endpoint: server.address,
          name: NAME,
          revision,
          token,
          patience: PATIENCE,
          progress: { update: () => {}, note: (text) => notes.push(text) },
        }),
      names: () => Array.from(Deno.readDirSync(folder), ({ name }) => name).sort(),
    });
  });
}

Deno.test("downloadModel() fetches what is read here, config.json last", async () => {
  await withHub(hub, async ({ server, notes, folder, download, names }) => {
    await download();
    assertEquals(names(), WANTED);
    for (const name of WANTED) {
      assertEquals(await Deno.readTextFile(`${folder}/${name}`), FILES[name]);
    }
    assertEquals(server.asked.at(-1)?.path, `/${NAME}/resolve/${COMMIT}/config.json`);
    assertEquals(notes[0], `${NAME}: 4 files, 7.8 KiB`);
    await download();
    assertEquals(server.asked.length, 1 + 4 + 1);
    assertEquals(notes.at(-1), "[4/4] config.json: already there");
  });
});

Deno.test("downloadModel() continues dropped connections by ranges", async () => {
  const answer = (asked: Asked): Answer => {
    const isCut = asked.path.endsWith("model.safetensors") && asked.earlier < 3;
    return { ...hub(asked), ...(isCut ? { dropAfter: 2000 } : {}) };
  };
  await withHub(answer, async ({ server, folder, download }) => {
    await download();
    assertEquals(
      await Deno.readTextFile(`${folder}/model.safetensors`),
      FILES["model.safetensors"],
    );
    const ranges = server.asked.filter(({ path }) => path.endsWith("model.safetensors"))
      .map(({ headers }) => headers.get("Range"));
    assertEquals(ranges, [null, "bytes=2000-", "bytes=4000-", "bytes=6000-"]);
  });
});

Deno.test("downloadModel() leaves no config.json until everything is there", async () => {
  let isBroken = true;
  const answer = (asked: Asked): Answer =>
    isBroken && asked.path.endsWith(".safetensors") ? { status: 500 } : hub(asked);
  await withHub(answer, async ({ folder, download, names }) => {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(`${folder}/config.json`, FILES["config.json"] ?? "");
    await Deno.writeTextFile(`${folder}/model.safetensors`, "weights of an older version");
    await assertRejects(() => download(), FileError, "answers 500 Internal Server Error");
    assertEquals(names(), ["LICENSE", "model.safetensors"]);
    isBroken = false;
    await download();
    assertEquals(names(), WANTED);
  });
});

Deno.test("downloadModel() refuses wrong bytes of small and of large files", async () => {
  for (const name of ["tokenizer.json", "model.safetensors"]) {
    const wrong = bytesOf(FILES[name] ?? "");
    wrong[0] = (wrong[0] ?? 0) ^ 1;
    const answer = (asked: Asked) =>
      asked.path.endsWith(name) ? { body: wrong, ranges: true } : hub(asked);
    await withHub(answer, async ({ download, names }) => {
      await assertRejects(() => download(), FileError, "its content must be the known one");
      assertEquals(names().includes(name), false);
      assertEquals(names().includes("config.json"), false);
    });
  }
});

Deno.test("downloadModel() sends the token to the hub, not to where it redirects", async () => {
  await using store = serveFiles(({ path }) => ({ body: bytesOf(FILES[path.slice(1)] ?? "") }));
  const answer = (asked: Asked): Answer =>
    asked.path.endsWith("model.safetensors")
      ? { status: 302, headers: { Location: `${store.address}/model.safetensors` } }
      : hub(asked);
  await withHub(answer, async ({ server, download }) => {
    await download({ token: "hf_secret" });
    for (const { headers } of server.asked) {
      assertEquals(headers.get("Authorization"), "Bearer hf_secret");
    }
    assertEquals(store.asked.map(({ headers }) => headers.get("Authorization")), [null]);
  });
});

Deno.test("downloadModel() says what to do where it is not let in", async () => {
  const cases: readonly (readonly [status: number, token: string | undefined, RegExp])[] = [
    [
      401,
      undefined,
      /answers 401 .*; check the name; if the model is gated, accept its licence at/,
    ],
    [401, undefined, /and give a token of .*\/settings\/tokens with --token or HF_TOKEN$/],
    [403, "hf_secret", /answers 403 .* with the account of the token, which must be allowed/],
    [404, undefined, /answers 404 Not Found$/],
  ];
  for (const [status, token, message] of cases) {
    for (const closed of [LIST_PATH, `/${NAME}/resolve/${COMMIT}/LICENSE`]) {
      const answer = (asked: Asked) => asked.path === closed ? { status } : hub(asked);
      await withHub(answer, async ({ folder, download }) => {
        const error = await assertRejects(
          () => download(token === undefined ? {} : { token }),
          FileError,
        );
        assertMatch(error.message, message);
        assert(!error.message.includes("hf_secret"));
        const isThere = await Deno.stat(`${folder}/config.json`).then(() => true, () => false);
        assertEquals(isThere, false);
      });
    }
  }
});

Deno.test("downloadModel() asks for a revision, and again when the list does not come", async () => {
  const path = `/api/models/${NAME}/revision/refs%2Fpr%2F1?blobs=true`;
  const answer = (asked: Asked): Answer => {
    if (asked.path !== path) return hub(asked);
    if (asked.earlier > 0) return { body: bytesOf(JSON.stringify(listing())) };
    return { body: bytesOf(JSON.stringify(listing())), dropAfter: 20 };
  };
  await withHub(answer, async ({ download, names }) => {
    await download({ revision: "refs/pr/1" });
    assertEquals(names(), WANTED);
  });
});

Deno.test("downloadModel() refuses a list that is none, and models in other forms", async () => {
  const without = (name: string): Record<string, unknown> =>
    listing(Object.fromEntries(Object.entries(FILES).filter(([key]) => key !== name)));
  const entry = (value: unknown) => ({ sha: COMMIT, siblings: [value] });
  const cases: readonly (readonly [body: unknown, message: string])[] = [
    ["no object", "it is no JSON object"],
    [{ siblings: [] }, "it names no commit"],
    [{ sha: "../../x", siblings: [] }, "it names no commit"],
    [{ sha: COMMIT }, "it lists no files"],
    [entry({}), "a file has no name"],
    [entry({ rfilename: "a.json", size: -1, blobId: COMMIT }), "a.json has neither size nor hash"],
    [entry({ rfilename: "a.json", size: 1, lfs: { size: 1 } }), "a.json has neither size nor hash"],
    [without("config.json"), `Cannot use ${NAME} as it must have a config.json`],
    [without("model.safetensors"), "its weights must be in model.safetensors or"],
    [{ sha: COMMIT, siblings: [] }, "as it must have a config.json"],
  ];
  for (const [body, message] of cases) {
    await withHub(() => ({ body: bytesOf(JSON.stringify(body)) }), async ({ folder, download }) => {
      await assertRejects(() => download(), FileError, message);
      await assertRejects(() => Deno.stat(folder), Deno.errors.NotFound);
    });
  }
});

Deno.test("downloadModel() never leaves the folder", async () => {
  const names = ["../evil.json", "/evil.json", "..\\evil.json", "sub/evil.json", "..json"];
  const evil = listing({ ...FILES, ...Object.fromEntries(names.map((name) => [name, "{}"])) });
  const answer = (asked: Asked): Answer =>
    asked.path === LIST_PATH ? { body: bytesOf(JSON.stringify(evil)) } : hub(asked);
  await withHub(answer, async ({ download, names }) => {
    await download();
    assertEquals(names(), WANTED);
  });
});

Deno.test("download_model.ts fetches into the folder of the original, with HF_TOKEN", async () => {
  await using server = serveFiles(hub);
  await inFolder({}, async (root) => {
    const args = ["-n", NAME, "-d", `${root}/hf`, "--endpoint", server.address];
    const env = { HF_TOKEN: "hf_variable\n" };
    const { code, stdout, stderr } = await runScript("scripts/download_model.ts", args, { env });
    assertEquals([code, stdout], [0, ""], stderr);
    assertMatch(stderr, /\[2\/4\] model\.safetensors: fetched 7\.8 KiB\n/);
    assertMatch(stderr, /is in .*\/hf\/owner_model-1b: use it with --model_path .*\n$/);
    assertEquals(server.asked[0]?.headers.get("Authorization"), "Bearer hf_variable");
    assert((await Deno.stat(`${root}/hf/owner_model-1b/config.json`)).isFile);
    const token = ["--token", "hf_flag"];
    await runScript("scripts/download_model.ts", [...args, ...token], { env });
    assertEquals(server.asked.at(-1)?.headers.get("Authorization"), "Bearer hf_flag");
  });
});

Deno.test("download_model.ts keeps HF_TOKEN from an endpoint that is not https", async () => {
  await using server = serveFiles(hub);
  await inFolder({}, async (root) => {
    // This machine by an address that does not look so.
    const endpoint = server.address.replace("127.0.0.1", "2130706433");
    const args = ["-n", NAME, "-d", `${root}/hf`, "--endpoint", endpoint];
    const env = { HF_TOKEN: "hf_variable" };
    const { code, stderr } = await runScript("scripts/download_model.ts", args, { env });
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /^HF_TOKEN is not sent, as --endpoint is not https \(--token sends one/);
    assert(server.asked.length > 0);
    for (const { headers } of server.asked) assertEquals(headers.get("Authorization"), null);
    const named = [...args, "--token", "hf_flag"];
    await runScript("scripts/download_model.ts", named, { env });
    assertEquals(server.asked.at(-1)?.headers.get("Authorization"), "Bearer hf_flag");
  });
});

const REFUSALS: readonly (readonly [args: readonly string[], code: number, line: RegExp])[] = [
  [[], 2, /^error: --name is required\n$/],
  [["-n", "a/b/c"], 2, /^error: --name: must be a model's name on the hub, as OWNER\/NAME/],
  [["-n", "../b"], 2, /^error: --name: must be a model's name on the hub/],
  [["-n", "a/b", "--token", "é"], 2, /^error: --token: must be visible ASCII characters/],
  [["-n", "a/b", "--endpoint", "x"], 2, /^error: --endpoint: must be an http address/],
  [["-n", "a/b", "--endpoint", "http://localhost"], 3, /^error: Cannot download the list of files/],
];

for (const [args, expected, line] of REFUSALS) {
  Deno.test(`download_model.ts ends with ${expected} and one line on '${args.join(" ")}'`, async () => {
    const { code, stdout, stderr } = await runScript("scripts/download_model.ts", args, {
      env: {},
    });
    assertEquals([code, stdout], [expected, ""], stderr);
    assertMatch(stderr, line);
    assertEquals(stderr.trim().split("\n").length, 1);
  });
}
