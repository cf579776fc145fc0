#!/usr/bin/env bash
# Deno.serve tells a handler that its client has gone only if the request's body was short.
#
# Versions: Deno 2.9.6, from npm deno 2.9.6; the client is Python's socket module.
# Behaviour: a client sends a whole request, waits half a second and closes its connection while the
# handler computes. `request.signal` aborts at once where the body has 100 bytes; where it has 1,000
# or more, nothing happens until the handler has answered. Reading the body or not, and
# --unstable-no-legacy-abort, make no difference. The same program's node:http says "close" at once
# for bodies of any length.
# A good engineer would guess: the signal aborts when the client goes, whatever it has sent; a test
# with a short body passes.
# Output seen: Deno.serve 100 in time, 1000 and 5000 not; node:http all in time.
# Why it matters: prompts are long. A server of a language model computes the whole answer of each
# request that its client has given up, with the places of others, and a client that retries after
# a time-out makes it compute all of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DENO_DIR="$work/cache" NO_COLOR=1 DENO_NO_UPDATE_CHECK=1
npm install --prefix "$work" --loglevel=error --no-audit --no-fund deno@2.9.6 >/dev/null
deno="$work/node_modules/.bin/deno"
"$deno" --version >/dev/null 2>&1
cat >client.py <<'PY'
import socket, sys, time
port, length = int(sys.argv[1]), int(sys.argv[2])
head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
with socket.create_connection(("127.0.0.1", port)) as connection:
    connection.sendall(head.encode() + b"x" * length)
    time.sleep(0.5)
PY
cat >check.js <<'JS'
import { createServer } from "node:http";
const COMPUTED_MS = 5000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let told; // what the server at work does when its client goes
const servers = {
  "Deno.serve": () => {
    const server = Deno.serve({ port: 0, onListen() {} }, async (request) => {
      request.signal.addEventListener("abort", () => told());
      await request.text();
      await sleep(COMPUTED_MS);
      return new Response("done");
    });
    return { port: server.addr.port, end: () => server.shutdown() };
  },
  "node:http": async () => {
    const server = createServer((request, response) => {
      response.on("close", () => told());
      request.resume();
      request.on("end", () => setTimeout(() => response.end("done"), COMPUTED_MS));
    });
    await new Promise((resolve) => server.listen(0, resolve));
    return { port: server.address().port, end: () => server.close() };
  },
};
for (const [name, start] of Object.entries(servers)) {
  for (const length of [100, 1000, 5000]) {
    const { port, end } = await start();
    let isTold = false;
    told = () => isTold = true;
    const client = new Deno.Command("python3", { args: ["client.py", `${port}`, `${length}`] });
    await client.output();
    // The client has ended; the answer is not there yet.
    await sleep(COMPUTED_MS / 2);
    console.log(`${name}, ${length} bytes: ${isTold ? "told" : "not told"}`);
    await sleep(COMPUTED_MS);
    await end();
  }
}
JS
"$deno" run --quiet --no-lock --allow-net --allow-run check.js 2>errors >seen || { cat errors; exit 1; }
cat seen
cat >expected <<'TEXT'
Deno.serve, 100 bytes: told
Deno.serve, 1000 bytes: not told
Deno.serve, 5000 bytes: not told
node:http, 100 bytes: told
node:http, 1000 bytes: told
node:http, 5000 bytes: told
TEXT
cmp -s seen expected || { echo "Changed: who is told of clients that go, in Deno" >&2; exit 1; }
