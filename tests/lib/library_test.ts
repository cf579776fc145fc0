/**
 * Finding, verifying and opening the kernel library, from a folder and over http.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import { openKernelLibrary } from "../../lib/ffi/locate.ts";
import { chooseLibrary, type Manifest, parseManifest } from "../../lib/ffi/manifest.ts";
import { ABI_VERSION } from "../../lib/ffi/symbols.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";

const FILE = "libsx_cpu-test.so";
/** No library, but with the right digest: it gets past verification and fails in the loader. */
const CONTENT = new TextEncoder().encode("no library");

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

interface ManifestFields {
  abi?: number;
  sha256?: string;
  bytes?: number;
  os?: string;
  file?: string;
}

async function manifestText(fields: ManifestFields = {}): Promise<string> {
  const { abi = ABI_VERSION, os = Deno.build.os, file = FILE } = fields;
  const entry = {
    file,
    backend: "cpu",
    os,
    arch: Deno.build.arch,
    isa: ["avx2"],
    tests: false,
    sources_sha256: "0".repeat(64),
    bytes: fields.bytes ?? CONTENT.length,
    sha256: fields.sha256 ?? await sha256(CONTENT),
    compiler: "none",
  };
  return JSON.stringify({ abi, libraries: [entry] });
}

/** A folder with a manifest and a file that is no library, removed after the test. */
async function withFolder(
  options: { manifest: string; content?: Uint8Array },
  run: (folder: URL, path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "starx-library-" });
  try {
    await Deno.writeTextFile(`${path}/MANIFEST.json`, options.manifest);
    if (options.content !== undefined) await Deno.writeFile(`${path}/${FILE}`, options.content);
    await run(new URL(`file://${path}/`), path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const CHOICE = { backend: "cpu", tests: false } as const;

Deno.test("openKernelLibrary() throws if there is no manifest", async () => {
  await assertRejects(
    () => openKernelLibrary({ ...CHOICE, folder: new URL("file:///nonexistent/folder/") }),
    DeviceError,
    "Cannot read /nonexistent/folder/MANIFEST.json: ",
  );
});

Deno.test("openKernelLibrary() throws if the library is missing", async () => {
  await withFolder({ manifest: await manifestText() }, async (folder, path) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot read ${path}/${FILE}: `,
    );
  });
});

Deno.test("openKernelLibrary() throws if the library is truncated", async () => {
  const manifest = await manifestText({ bytes: 11 });
  await withFolder({ manifest, content: CONTENT }, async (folder, path) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot open the library ${path}/${FILE} as it must have 11 bytes: current value is 10`,
    );
  });
});

Deno.test("openKernelLibrary() throws if the library's digest differs", async () => {
  const expected = "ab".repeat(32);
  const found = await sha256(CONTENT);
  const manifest = await manifestText({ sha256: expected });
  await withFolder({ manifest, content: CONTENT }, async (folder, path) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot open the library ${path}/${FILE} as its SHA-256 must be ${expected}: ` +
        `current value is ${found}`,
    );
  });
});

Deno.test("openKernelLibrary() throws if the loader refuses the file", async () => {
  await withFolder(
    { manifest: await manifestText(), content: CONTENT },
    async (folder, path) => {
      const error = await assertRejects(
        () => openKernelLibrary({ ...CHOICE, folder }),
        DeviceError,
        `Cannot open the library ${path}/${FILE}: `,
      );
      assert(error.cause instanceof Error);
    },
  );
});

Deno.test("openKernelLibrary() throws if the manifest is of another version", async () => {
  const manifest = await manifestText({ abi: ABI_VERSION + 1 });
  await withFolder({ manifest, content: CONTENT }, async (folder, path) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot use ${path}/MANIFEST.json as its interface version must be ${ABI_VERSION}: ` +
        `current value is ${ABI_VERSION + 1}`,
    );
  });
});

Deno.test("openKernelLibrary() names what exists if there is none for the machine", async () => {
  const manifest = await manifestText({ os: "plan9" });
  await withFolder({ manifest }, async (folder) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot open a cpu library as there must be one for ${Deno.build.os} ${Deno.build.arch}: ` +
        `current value is cpu for plan9 ${Deno.build.arch}`,
    );
  });
});

Deno.test("chooseLibrary() tells the tests' library from the other", async () => {
  const manifest: Manifest = parseManifest(await manifestText(), "m");
  assertEquals(chooseLibrary(manifest, CHOICE).file, FILE);
  assertThrows(
    () => chooseLibrary(manifest, { ...CHOICE, tests: true }),
    DeviceError,
    "Cannot open a cpu library for tests as there must be one for ",
  );
});

Deno.test("parseManifest() throws if the text is no manifest", async (t) => {
  const good = JSON.parse(await manifestText());
  const cases: [string, unknown, string][] = [
    ["no object", 1, "as 'abi' is wrong: current value is undefined"],
    ["no libraries", { ...good, libraries: 3 }, "as 'libraries' is wrong: current value is 3"],
    [
      "a path as a file",
      { ...good, libraries: [{ ...good.libraries[0], file: "../x" }] },
      "as 'libraries[0]' is wrong: current value is ",
    ],
    [
      "a short digest",
      { ...good, libraries: [{ ...good.libraries[0], sha256: "ab" }] },
      "as 'libraries[0]' is wrong: current value is ",
    ],
  ];
  for (const [name, json, message] of cases) {
    await t.step(name, () => {
      assertThrows(() => parseManifest(JSON.stringify(json), "m"), DeviceError, message);
    });
  }
  await t.step("no JSON", () => {
    assertThrows(() => parseManifest("{", "m"), DeviceError, "Cannot read the manifest m: ");
  });
});

/** A web server for a folder of two files, and an empty cache folder in the environment. */
async function withServer(
  files: Map<string, Uint8Array<ArrayBuffer>>,
  run: (folder: URL, cache: string, requests: string[]) => Promise<void>,
): Promise<void> {
  const requests: string[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const name = new URL(request.url).pathname.split("/").at(-1) ?? "";
    requests.push(name);
    const body = files.get(name);
    return body === undefined ? new Response(null, { status: 404 }) : new Response(body);
  });
  const cache = await Deno.makeTempDir({ prefix: "starx-cache-" });
  const before = Deno.env.get("XDG_CACHE_HOME");
  Deno.env.set("XDG_CACHE_HOME", cache);
  try {
    await run(new URL(`http://127.0.0.1:${server.addr.port}/prebuilt/`), cache, requests);
  } finally {
    if (before === undefined) Deno.env.delete("XDG_CACHE_HOME");
    else Deno.env.set("XDG_CACHE_HOME", before);
    await Deno.remove(cache, { recursive: true });
  }
}

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

Deno.test("openKernelLibrary() keeps a fetched library under its digest", async () => {
  const files = new Map([["MANIFEST.json", encode(await manifestText())], [FILE, CONTENT]]);
  await withServer(files, async (folder, cache, requests) => {
    const path = `${cache}/starx/kernels/${await sha256(CONTENT)}/${FILE}`;
    const open = async (): Promise<void> => {
      // The content is no library: the loader's refusal shows which file was opened.
      await assertRejects(
        () => openKernelLibrary({ ...CHOICE, folder }),
        DeviceError,
        `Cannot open the library ${path}: `,
      );
    };
    await open();
    assertEquals(await Deno.readFile(path), CONTENT);
    await open();
    assertEquals(requests, ["MANIFEST.json", FILE, "MANIFEST.json"], "the second time cached");
    await Deno.writeTextFile(path, "damaged!!!");
    await open();
    assertEquals(await Deno.readFile(path), CONTENT, "a damaged file is replaced");
    const left = [...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))];
    assertEquals(left.map(({ name }) => name), [FILE], "no temporary file is left");
  });
});

Deno.test("openKernelLibrary() keeps nothing of a fetched library with another digest", async () => {
  const files = new Map([
    ["MANIFEST.json", encode(await manifestText())],
    [FILE, encode("n0 library")],
  ]);
  await withServer(files, async (folder, cache) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot open the library ${folder.href}${FILE} as its SHA-256 must be `,
    );
    assertEquals([...Deno.readDirSync(cache)], []);
  });
});

Deno.test("openKernelLibrary() names the address if the server lacks the file", async () => {
  await withServer(new Map(), async (folder) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot read ${folder.href}MANIFEST.json: the server answered 404`,
    );
  });
});

Deno.test("openKernelLibrary() trusts no cache that others can write", async () => {
  const files = new Map([["MANIFEST.json", encode(await manifestText())], [FILE, CONTENT]]);
  await withServer(files, async (folder, cache) => {
    const kernels = `${cache}/starx/kernels`;
    await Deno.mkdir(kernels, { recursive: true });
    await Deno.chmod(kernels, 0o777);
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      `Cannot use ${kernels} as only its owner`,
    );
    assertEquals([...Deno.readDirSync(kernels)], []);
  });
});

Deno.test("openKernelLibrary() reads no endless manifest", async () => {
  const endless = new Map([["MANIFEST.json", new Uint8Array(2 ** 21)]]);
  await withServer(endless, async (folder) => {
    await assertRejects(
      () => openKernelLibrary({ ...CHOICE, folder }),
      DeviceError,
      "MANIFEST.json as it may have at most 1048576 bytes",
    );
  });
});
