/**
 * What users fetch: the packages that the lock file names, which Deno fetches all at once.
 *
 * @module
 */
import { assertEquals } from "./helpers/assert.ts";
import { ROOT, sourceFiles } from "./helpers/sources.ts";

Deno.test("the lock file names what cli.ts, mod.ts and the scripts for users reach, and no more", async () => {
  const files = new Map(
    (await sourceFiles("cli.ts", "mod.ts", "lib", "commands", "ruler", "babilong", "scripts"))
      .map((file) => [file.path, file]),
  );
  const reached = new Set<string>();
  const packages = new Set<string>();
  // The worker's module is named by its address.
  const open = [
    ...["cli.ts", "mod.ts", "scripts/download_data.ts", "scripts/download_model.ts"],
    ...["lib/model/tokenizer_worker.ts"],
  ];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    for (const other of files.get(path)?.imports ?? []) {
      if (other.startsWith("npm:")) packages.add(other.replace(/^(npm:@?[^@]+@[^/]+).*$/, "$1"));
      else open.push(other);
    }
  }
  const lock = JSON.parse(await Deno.readTextFile(new URL("deno.lock", ROOT)));
  assertEquals(Object.keys(lock.specifiers).sort(), [...packages].sort());
});

Deno.test("the tasks for users have their permissions from sets, which are written once", async () => {
  const { tasks, permissions } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", ROOT)),
  );
  const sets = {
    ruler: "program",
    babilong: "program",
    infer: "program",
    bench: "program",
    doctor: "program",
    serve: "serve",
  };
  for (
    const [task, set] of Object.entries({
      ...sets,
      prepare: "data",
      data: "download",
      model: "download",
    })
  ) {
    const [, named] =
      /^deno run -q --no-prompt --no-code-cache -P=(\w+) [\w/]+\.ts( \w+)?$/.exec(tasks[task]) ??
        [];
    assertEquals(named, set, task);
  }
  assertEquals(Object.keys(permissions).sort(), ["data", "download", "nodes", "program", "serve"]);
  assertEquals("net" in permissions.program, false);
  // Ranks without MPI may do what the program may, talk to each other, and read their key.
  const { net, env, ...rest } = permissions.nodes;
  const { env: programs, ...others } = permissions.program;
  assertEquals(net, true);
  assertEquals(env.filter((name: string) => name !== "STARX_JOB_KEY"), programs);
  assertEquals(rest, others);
  const { net: loopback, ...served } = permissions.serve;
  assertEquals(loopback, ["127.0.0.1", "localhost", "[::1]"]);
  assertEquals(served, permissions.program);
  assertEquals(["ffi", "run", "net"].filter((name) => name in permissions.data), []);
});
