/**
 * The rules of the house that a reader would otherwise have to watch: who may import whom, how long
 * files and functions are, where foreign code is called, what third-party modules there are.
 *
 * @module
 */
import { headerText, parseHeader } from "../kernels/header.ts";
import { assert, assertEquals } from "./helpers/assert.ts";
import {
  importCircles,
  pathsBelow,
  ROOT,
  type SourceFile,
  sourceFiles,
} from "./helpers/sources.ts";

const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 70;

/** From the bottom to the top: a file imports from its own layer and those before it. */
const LAYERS: readonly RegExp[] = [
  /^lib\/[a-z_]+\.ts$/,
  /^lib\/ffi\//,
  /^lib\/device\//,
  /^lib\/parallel\//,
  /^lib\/ops\//,
  /^lib\/attention\//,
  /^lib\/model\//,
  /^lib\/star\//,
  /^lib\/team\//,
  /^lib\/engine\//,
  /^commands\//,
  /^cli\.ts$/,
];
/** What may be imported from everywhere. */
const EVERYWHERE = /^lib\/deps\//;

/** Sources that users reach, and what only the project itself runs. */
const PRODUCT = ["mod.ts", "cli.ts", "lib", "commands", "ruler", "babilong"];
const ALL = [...PRODUCT, "scripts", "tests", "kernels"];

function layerOf(path: string): number {
  return LAYERS.findIndex((layer) => layer.test(path));
}

function assertNone(faults: readonly string[], rule: string): void {
  assertEquals(faults, [], rule);
}

Deno.test("sources import only from their own layer and those below", async () => {
  const faults = (await sourceFiles("lib", "commands", "cli.ts")).flatMap((file) => {
    const { path, started } = file;
    if (EVERYWHERE.test(path)) return [];
    // A program that is started is no part of who starts it.
    const imports = file.imports.filter((other) => !started.includes(other));
    const own = layerOf(path);
    assert(own >= 0, `${path} must belong to a layer`);
    return imports.filter((other) => layerOf(other) > own && !EVERYWHERE.test(other))
      .map((other) => `${path} imports ${other}`);
  });
  assertNone(faults, "an import may not point upwards");
});

Deno.test("no files import each other in a circle", async () => {
  const file = (path: string, ...imports: string[]): SourceFile => ({
    ...{ path, text: "", imports, started: [] },
  });
  assertEquals(importCircles([file("a", "b"), file("b", "c"), file("c", "b"), file("d", "d")]), [
    "b -> c -> b",
    "d -> d",
  ]);
  const worker = { ...file("a", "b"), started: ["b"] };
  assertNone(importCircles([worker, file("b", "a")]), "a worker is no part of who starts it");
  assertNone(importCircles(await sourceFiles(...ALL)), "an import may not lead back");
});

Deno.test("the benchmarks' sources import nothing of the runtime but the general files of lib/", async () => {
  const faults = (await sourceFiles("ruler", "babilong")).flatMap(({ path, imports }) =>
    imports.filter((other) =>
      /^(lib|commands)\//.test(other) && !/^lib\/([a-z_]+|deps\/parquet)\.ts$/.test(other)
    )
      .map((other) => `${path} imports ${other}`)
  );
  assertNone(faults, "a benchmark can be used without the runtime");
});

Deno.test("products and scripts import nothing from tests", async () => {
  const faults = (await sourceFiles(...PRODUCT, "scripts", "kernels")).flatMap((file) =>
    file.imports.filter((other) => other.startsWith("tests/")).map((other) =>
      `${file.path} imports ${other}`
    )
  );
  assertNone(faults, "tests are not shipped");
});

Deno.test("third-party modules are pinned, and each belongs to one module", async () => {
  const owners = new Map<string, string[]>();
  for (const { path, imports } of await sourceFiles(...ALL)) {
    for (const specifier of imports) {
      if (specifier.endsWith(".ts") || specifier.startsWith("node:")) continue;
      assert(specifier.startsWith("npm:"), `${path} must not import the bare name ${specifier}`);
      assert(/@\d+\.\d+\.\d+/.test(specifier), `${path} must pin the version of ${specifier}`);
      const name = specifier.replace(/^npm:(@?[^@]+)@.*$/, "$1");
      owners.set(name, [...new Set([...owners.get(name) ?? [], path])]);
    }
  }
  const shared = [...owners].filter(([, paths]) => paths.length > 1).map(String);
  assertNone(shared, "a package is imported by one module");
  const misplaced = [...owners.values()].flat().filter((path) =>
    !EVERYWHERE.test(path) && !path.startsWith("tests/")
  );
  assertNone(misplaced, "third-party modules are imported in lib/deps");
});

Deno.test("every module is imported by somebody or is an entry", async () => {
  const entries =
    /^(mod|cli)\.ts$|^lib\/engine\/worker\.ts$|^commands\/bench\/worker\.ts$|^scripts\/[a-z_]+\.ts$|_test\.ts$/;
  const files = await sourceFiles(...ALL);
  const imported = new Set(files.flatMap(({ imports }) => imports));
  const unused = files.map(({ path }) => path)
    .filter((path) => !imported.has(path) && !entries.test(path) && path !== "kernels/build.ts")
    .filter((path) => !path.endsWith(".d.ts") && !path.startsWith("tests/helpers/fake_"));
  assertNone(unused, "a module that nobody imports is dead");
});

Deno.test(`files have at most ${MAX_FILE_LINES} lines`, async () => {
  const paths = [
    ...(await sourceFiles(...ALL)).map(({ path }) => path),
    ...(await pathsBelow("kernels")).filter((path) => /\.(cpp|h|cu|cuh)$/.test(path)),
  ];
  const faults: string[] = [];
  for (const path of new Set(paths)) {
    const lines = (await Deno.readTextFile(new URL(path, ROOT))).split("\n").length - 1;
    if (lines > MAX_FILE_LINES) faults.push(`${path}: ${lines}`);
  }
  assertNone(faults, "a longer file holds more than one concept");
});

Deno.test(`functions have at most ${MAX_FUNCTION_LINES} lines`, async () => {
  const faults = (await sourceFiles(...ALL)).flatMap(longFunctions);
  assertNone(faults, "a longer function does more than one thing");
});

/** Formatted code ends a function with a brace below the beginning of its first line. */
function longFunctions({ path, text }: SourceFile): string[] {
  const faults: string[] = [];
  const lines = text.split("\n");
  lines.forEach((line, start) => {
    const head =
      /^(\s*)(?:export )?(?:default )?(?:static |private |override )*(?:async )?(?:function\*?\s|[#\w]+(?:<.*>)?\([^=]*$)/
        .exec(line);
    if (
      head === null || !/[({]$/.test(line) ||
      /^\s*(if|for|while|switch|return|await|throw|new)\b/.test(line)
    ) return;
    const indent = head[1] ?? "";
    const from = (test: (text: string) => boolean, begin: number): number =>
      lines.findIndex((text, i) => i >= begin && test(text));
    // A call looks alike, but no body follows its parenthesis.
    const opens = line.endsWith("{") ? start : from((text) => text.startsWith(`${indent})`), start);
    if (!(lines[opens]?.endsWith("{") ?? false)) return;
    const end = from((text) => text.startsWith(`${indent}}`), opens + 1);
    if (end < 0) return;
    if (end - start + 1 > MAX_FUNCTION_LINES) faults.push(`${path}:${start + 1}`);
  });
  return faults;
}

Deno.test("foreign code is opened in one place, and pointers stay near it", async () => {
  const faults = (await sourceFiles(...PRODUCT)).flatMap(({ path, text }) => [
    ...(/Deno\.dlopen\(/.test(text) && path !== "lib/ffi/library.ts" ? [`${path}: dlopen`] : []),
    ...(/Deno\.Unsafe|PointerValue/.test(text) && !/^lib\/(ffi|device|parallel)\//.test(path)
      ? [`${path}: pointers`]
      : []),
  ]);
  assertNone(faults, "Deno.dlopen() and pointers are kept in few places");
});

Deno.test("sources hold no unfinished work and no path of a machine", async () => {
  const marks = /\b(TODO|FIXME|XXX|HACK)\b|not implemented|\/(work|home|root|Users)\/[a-z]/;
  const faults = (await sourceFiles(...ALL)).filter(({ path }) => path !== "tests/tidy_test.ts")
    .flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, i) => marks.test(line) ? [`${path}:${i + 1}: ${line}`] : [])
    );
  assertNone(faults, "what is committed is finished");
});

Deno.test("an op has a file of one name for its twin, both libraries, its call and its test", async () => {
  const header = parseHeader(headerText());
  const twins = (await pathsBelow("kernels/reference")).filter((path) => path.endsWith(".cpp"));
  const faults: string[] = [];
  for (const name of header.ops.keys()) {
    // A copy is each library's own way to move memory, without a twin or an instruction set.
    if (name === "sx_copy") continue;
    const op = name.replace(/^sx_/, "");
    const definition = new RegExp(`^sx_status ${op}\\(Context&`, "m");
    const owners = await having(twins, definition);
    const base = owners[0]?.replace(/^.*\/(\w+)\.cpp$/, "$1");
    if (base === undefined || owners.length > 1) {
      faults.push(`${name}: one file of kernels/reference must define ${op}()`);
      continue;
    }
    const places = {
      [`kernels/cpu/${base}.cpp`]: definition,
      [`kernels/cuda/${base}.cu`]: definition,
      [`lib/ops/${base}.ts`]: new RegExp(`\\b${name}\\b`),
      [`tests/kernels/${base}_test.ts`]: new RegExp(`"${name}"`),
    };
    for (const [path, mark] of Object.entries(places)) {
      if ((await having([path], mark)).length === 0) faults.push(`${path} must have ${name}`);
    }
  }
  assertNone(faults, "an op is found by its name");
});

/** Those of some files that are there and match. */
async function having(paths: readonly string[], mark: RegExp): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    const text = await Deno.readTextFile(new URL(path, ROOT)).catch(() => "");
    if (mark.test(text)) found.push(path);
  }
  return found;
}
