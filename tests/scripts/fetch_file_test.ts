import { createHash } from "node:crypto";
import { FileError } from "../../lib/errors.ts";
import type { FileCheck } from "../../scripts/download/check.ts";
import { fetchFile } from "../../scripts/download/fetch_file.ts";
import type { Patience } from "../../scripts/download/http.ts";
import type { Progress } from "../../scripts/download/progress.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { type Answer, type Asked, serveFiles } from "../helpers/file_server.ts";
import { inFolder } from "../helpers/folder.ts";

const PATIENCE: Patience = { attempts: 3, firstDelayMs: 1, stallMs: 10_000 };
const SILENT: Progress = { update: () => {}, note: () => {} };

/** Larger than what a socket takes at once. */
const BODY = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
const CHECK: FileCheck = { bytes: BODY.length, digest: { kind: "sha256", hex: sha256(BODY) } };

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

interface Scene {
  readonly path: string;
  readonly folder: string;
  readonly address: string;
  readonly asked: readonly Asked[];
  /** Downloads, by default from `address` with everything known. */
  fetch(options?: {
    check?: FileCheck;
    addresses?: readonly string[];
    patience?: Patience;
    headers?: Record<string, string>;
  }): Promise<boolean>;
  /** Names in the folder. */
  names(): string[];
}

async function withServer(
  answer: (asked: Asked) => Answer,
  run: (scene: Scene) => Promise<void>,
): Promise<void> {
  await inFolder({}, async (folder) => {
    await using server = serveFiles(answer);
    const address = `${server.address}/file`;
    const path = `${folder}/file`;
    await run({
      path,
      folder,
      address,
      asked: server.asked,
      fetch: ({ check = CHECK, addresses = [address], patience = PATIENCE, ...rest } = {}) =>
        fetchFile(path, addresses, { check, progress: SILENT, patience, label: "file", ...rest }),
      names: () => Array.from(Deno.readDirSync(folder), ({ name }) => name).sort(),
    });
  });
}

function ranges(asked: readonly Asked[]): (string | null)[] {
  return asked.map(({ headers }) => headers.get("Range"));
}

Deno.test("fetchFile() writes the content under its name, and asks no more when it is there", async () => {
  await withServer(() => ({ body: BODY }), async ({ fetch, path, names, asked }) => {
    assertEquals(await fetch(), true);
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(await fetch(), false);
    assertEquals([names(), asked.length], [["file"], 1]);
  });
});

Deno.test("fetchFile() continues by ranges where a connection dropped", async () => {
  const answer = ({ earlier }: Asked): Answer => ({
    body: BODY,
    ranges: true,
    ...(earlier < 5 ? { dropAfter: 10_000 } : {}),
  });
  await withServer(answer, async ({ fetch, path, asked }) => {
    await fetch();
    assertEquals(await Deno.readFile(path), BODY);
    // Every attempt brought something, so five failures do not end a download of three attempts.
    assertEquals(ranges(asked).slice(0, 3), [null, "bytes=10000-", "bytes=20000-"]);
    assertEquals(asked.length, 6);
  });
});

Deno.test("fetchFile() starts again where the server knows no ranges", async () => {
  const answer = ({ earlier }: Asked): Answer => ({
    body: BODY,
    ...(earlier === 0 ? { dropAfter: 99_999 } : {}),
  });
  await withServer(answer, async ({ fetch, path, asked }) => {
    await fetch();
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(ranges(asked), [null, "bytes=99999-"]);
  });
});

Deno.test("fetchFile() leaves only a part when every connection drops, and continues it later", async () => {
  let isBroken = true;
  const answer = (): Answer => ({
    body: BODY,
    ranges: true,
    ...(isBroken ? { headers: { "Content-Length": "100000" }, dropAfter: 0 } : {}),
  });
  await withServer(answer, async ({ fetch, path, names, asked }) => {
    await Deno.writeFile(`${path}.part`, BODY.subarray(0, 60_000));
    await assertRejects(
      () => fetch(),
      FileError,
      "Cannot download file: ",
    );
    assertEquals(names(), ["file.part"]);
    isBroken = false;
    await fetch();
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals([names(), ranges(asked).at(-1)], [["file"], "bytes=60000-"]);
  });
});

Deno.test("fetchFile() fetches all again when the part turns out to be of another content", async () => {
  await withServer(() => ({ body: BODY, ranges: true }), async ({ fetch, path, asked }) => {
    await Deno.writeFile(`${path}.part`, new Uint8Array(1000));
    await fetch();
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(ranges(asked), ["bytes=1000-", null]);
  });
});

Deno.test("fetchFile() drops a part that is longer than the file", async () => {
  await withServer(() => ({ body: BODY, ranges: true }), async ({ fetch, path, asked }) => {
    await Deno.writeFile(`${path}.part`, new Uint8Array(BODY.length + 1));
    await fetch();
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(ranges(asked), [null]);
  });
});

Deno.test("fetchFile() starts again when the server refuses or mistakes the range", async () => {
  const faults: Answer[] = [
    { status: 416 },
    { status: 206, headers: { "Content-Range": "bytes 5-99999/100000" }, body: BODY.subarray(5) },
    { status: 206, body: BODY },
  ];
  for (const fault of faults) {
    const answer = ({ earlier }: Asked) => earlier === 0 ? fault : { body: BODY };
    await withServer(answer, async ({ fetch, path, asked }) => {
      await Deno.writeFile(`${path}.part`, BODY.subarray(0, 1000));
      await fetch();
      assertEquals(await Deno.readFile(path), BODY);
      assertEquals(ranges(asked), ["bytes=1000-", null]);
    });
  }
});

Deno.test("fetchFile() refuses wrong bytes and leaves nothing", async () => {
  const wrong = BODY.slice();
  wrong[50_000] = (wrong[50_000] ?? 0) ^ 1;
  await withServer(() => ({ body: wrong, ranges: true }), async ({ fetch, names }) => {
    const error = await assertRejects(
      () => fetch(),
      FileError,
      "its content must be the known one",
    );
    assertMatch(error.message, /100000 bytes, SHA-256 [0-9a-f]{64}\): found 100000 bytes, SHA-256/);
    assertEquals(names(), []);
  });
});

Deno.test("fetchFile() keeps a finished file of other content until it is replaced", async () => {
  let body = new Uint8Array(10);
  await withServer(() => ({ body }), async ({ fetch, path, names }) => {
    await Deno.writeTextFile(path, "old");
    await assertRejects(() => fetch(), FileError, "must have 100000 bytes");
    assertEquals([await Deno.readTextFile(path), names()], ["old", ["file"]]);
    body = BODY;
    await fetch();
    assertEquals(await Deno.readFile(path), BODY);
  });
});

Deno.test("fetchFile() refuses wrong sizes, announced or not", async () => {
  const longer = new Uint8Array([...BODY, 1]);
  const shorter = BODY.subarray(1);
  const cases: readonly (readonly [Answer, string])[] = [
    [{ body: longer }, "must have 100000 bytes: http://127.0.0.1:"],
    [{ body: shorter }, "must have 100000 bytes: http://127.0.0.1:"],
    [{ body: longer, isChunked: true }, "its content must be the known one"],
    [{ body: shorter, isChunked: true }, "ended after 99999 of 100000 bytes (3 attempts)"],
    [{ body: BODY, isChunked: true, dropAfter: 5 }, "Cannot download file: "],
  ];
  for (const [answer, message] of cases) {
    await withServer(() => answer, async ({ fetch, names }) => {
      await assertRejects(() => fetch(), FileError, message);
      assertEquals(names().filter((name) => name !== "file.part"), []);
    });
  }
});

Deno.test("fetchFile() tries again on answers that pass, and not on others", async () => {
  for (const status of [408, 429, 500, 503]) {
    const answer = ({ earlier }: Asked) => earlier < 2 ? { status } : { body: BODY };
    await withServer(answer, async ({ fetch, asked }) => {
      await fetch();
      assertEquals(asked.length, 3);
    });
  }
  for (const status of [400, 401, 403, 404, 410]) {
    await withServer(() => ({ status }), async ({ fetch, asked, names, address }) => {
      const error = await assertRejects(() => fetch(), FileError);
      assert(error.message.startsWith(`Cannot download file: ${address} answers ${status} `));
      assertEquals([asked.length, names()], [1, []]);
    });
  }
});

Deno.test("fetchFile() gives up after its attempts", async () => {
  await withServer(() => ({ status: 503 }), async ({ fetch, asked, names }) => {
    await assertRejects(() => fetch(), FileError, "answers 503 Service Unavailable (3 attempts)");
    assertEquals([asked.length, names()], [3, []]);
  });
});

Deno.test("fetchFile() gives up a connection that hangs", async () => {
  const answer = ({ earlier }: Asked): Answer =>
    earlier === 0 ? { body: BODY, dropAfter: 500, hangs: true } : { body: BODY, ranges: true };
  await withServer(answer, async ({ fetch, path, asked }) => {
    await fetch({ patience: { ...PATIENCE, stallMs: 2_000 } });
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(ranges(asked), [null, "bytes=500-"]);
  });
});

Deno.test("fetchFile() asks the next address when one fails, and continues there", async () => {
  const answer = ({ path, earlier }: Asked): Answer => {
    if (path === "/file") return { body: BODY, ranges: true };
    return earlier === 0 ? { body: BODY, dropAfter: 700 } : { status: 503 };
  };
  await withServer(answer, async ({ fetch, path, address, asked }) => {
    const closed = "http://127.0.0.1:1/file";
    await fetch({ addresses: [closed, address.replace("/file", "/first"), address] });
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(
      asked.map(({ path, headers }) => [path, headers.get("Range")]),
      [["/first", null], ["/first", "bytes=700-"], ["/file", "bytes=700-"]],
    );
  });
});

Deno.test("fetchFile() names every address that failed", async () => {
  const answer = ({ path }: Asked) => ({ status: path === "/file" ? 404 : 410 });
  await withServer(answer, async ({ fetch, address }) => {
    const error = await assertRejects(
      () => fetch({ addresses: [address, `${address}2`] }),
      FileError,
    );
    assertMatch(error.message, /file answers 404 Not Found; Cannot .*file2 answers 410 Gone$/);
  });
});

Deno.test("fetchFile() follows redirects and keeps a secret from other hosts", async () => {
  await using other = serveFiles(() => ({ body: BODY }));
  const answer = ({ path }: Asked): Answer =>
    path === "/file"
      ? { status: 302, headers: { Location: "/moved" } }
      : { status: 307, headers: { Location: `${other.address}/there` } };
  await withServer(answer, async ({ fetch, path, asked }) => {
    await fetch({ headers: { Authorization: "Bearer secret" } });
    assertEquals(await Deno.readFile(path), BODY);
    const secrets = (list: readonly Asked[]) =>
      list.map(({ headers }) => headers.get("Authorization"));
    assertEquals(secrets(asked), ["Bearer secret", "Bearer secret"]);
    assertEquals(secrets(other.asked), [null]);
  });
});

Deno.test("fetchFile() ends on redirects in a circle", async () => {
  const answer = (): Answer => ({ status: 302, headers: { Location: "/file" } });
  await withServer(answer, async ({ fetch, names }) => {
    await assertRejects(() => fetch(), FileError, "Cannot download file: ");
    assertEquals(names(), []);
  });
});

Deno.test("fetchFile() takes content of which nothing is known, but never an old part of it", async () => {
  await withServer(() => ({ body: BODY, ranges: true }), async ({ fetch, path, asked }) => {
    await Deno.writeFile(`${path}.part`, BODY.subarray(0, 10));
    await fetch({ check: {} });
    assertEquals(await Deno.readFile(path), BODY);
    assertEquals(ranges(asked), [null]);
  });
});

Deno.test("fetchFile() says when the file cannot be written", async () => {
  await withServer(() => ({ body: BODY }), async ({ fetch, path, asked }) => {
    await Deno.mkdir(`${path}.part`);
    await assertRejects(() => fetch(), FileError, `Cannot write ${path}: `);
    assertEquals(asked.length, 0);
  });
});

Deno.test("fetchFile() leaves a file alone that another process downloads", async () => {
  await withServer(() => ({ body: BODY }), async ({ fetch, path }) => {
    using file = await Deno.open(`${path}.part`, { write: true, create: true });
    await file.lock(true);
    await assertRejects(() => fetch(), FileError, "another process is downloading it");
  });
});

Deno.test("fetchFile() gives up content of unknown size beyond a limit, and keeps none of it", async () => {
  await withServer(() => ({ body: BODY }), async ({ path, address, names }) => {
    const options = { check: {}, progress: SILENT, patience: PATIENCE, label: "file" };
    await assertRejects(
      () => fetchFile(path, [address], { ...options, maxBytes: 1000 }),
      FileError,
      "Cannot download file as it may have at most 1000 bytes: more came",
    );
    assertEquals(names(), []);
    await fetchFile(path, [address], { ...options, maxBytes: BODY.length });
    assertEquals(names(), ["file"]);
  });
});

Deno.test("fetchFile() tries nothing again that cannot get better, and says when it does", async () => {
  const notes: string[] = [];
  const progress: Progress = { update: () => {}, note: (text) => void notes.push(text) };
  await inFolder({}, async (folder) => {
    const fetch = (address: string) =>
      fetchFile(`${folder}/file`, [address], {
        ...{ check: CHECK, progress, patience: PATIENCE, label: "file" },
      });
    await assertRejects(() => fetch("http://[bad"), FileError, "Cannot download file: ");
    await assertRejects(() => fetch("gopher://127.0.0.1/x"), FileError, "Cannot download file: ");
    assertEquals(notes, []);
    // Nobody listens there; a name and a password are nobody's business.
    const error = await assertRejects(() => fetch("http://me:secret@127.0.0.1:1/x"), FileError);
    assert(!error.message.includes("secret"), error.message);
    assertMatch(error.message, /\(3 attempts\)$/);
    assertEquals(notes.filter((line) => line.startsWith("file: ")), [
      "file: attempt 2 of 3 in 0.001 s",
      "file: attempt 3 of 3 in 0.002 s",
    ]);
  });
});

Deno.test("fetchFile() follows no redirect in a circle more than once", async () => {
  let count = 0;
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    count++;
    return Response.redirect(request.url);
  });
  await inFolder({}, async (folder) => {
    const address = `http://127.0.0.1:${server.addr.port}/x`;
    await assertRejects(
      () =>
        fetchFile(`${folder}/file`, [address], {
          ...{ check: CHECK, progress: SILENT, patience: PATIENCE, label: "file" },
        }),
      FileError,
      "redirect",
    );
    assert(count < 50, `${count} requests`);
  });
});

Deno.test("fetchFile() writes through no link that lies where its unfinished file belongs", async () => {
  await inFolder({ target: "precious" }, async (folder) => {
    await Deno.symlink(`${folder}/target`, `${folder}/file.part`);
    await using server = serveFiles(() => ({ body: BODY }));
    await assertRejects(
      () =>
        fetchFile(`${folder}/file`, [`${server.address}/file`], {
          ...{ check: CHECK, progress: SILENT, patience: PATIENCE, label: "file" },
        }),
      FileError,
      `Cannot write ${folder}/file: ${folder}/file.part is there, and is no plain file`,
    );
    assertEquals(await Deno.readTextFile(`${folder}/target`), "precious");
  });
});
