#!/usr/bin/env bash
# protobufjs encodes { max_tokens: 100 } as an empty message, and verify() finds nothing wrong with it.
#
# Versions: npm protobufjs 8.8.1.
# Behaviour: the parser turns names into camel case unless it is told keepCase, and what an object has beside
# the known names is ignored by verify(), fromObject() and encode().
# A good engineer would guess: the names of the .proto file are the names, or an unknown one is an error of
# verify().
# Output seen: max_tokens and top_p give 0 bytes, maxTokens and topP 7; verify() says null for both; with
# keepCase the first give 7.
# Why it matters: inference servers name their fields max_tokens, top_p, input_ids. A request made by their
# documentation is valid and empty of settings: the server's own limits and sampling are measured.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  protobufjs@8.8.1 >/dev/null
cat >check.cjs <<'JS'
const protobuf = require("protobufjs");
const proto = 'syntax = "proto3"; message Request { int32 max_tokens = 1; float top_p = 2; }';
const snake = { max_tokens: 100, top_p: 0.5 }, camel = { maxTokens: 100, topP: 0.5 };
for (const [name, options] of [["as it comes", {}], ["keepCase", { keepCase: true }]]) {
  const Request = protobuf.parse(proto, options).root.lookupType("Request");
  for (const fields of [snake, camel]) {
    const sizes = [Request.encode(fields), Request.encode(Request.fromObject(fields))]
      .map((writer) => writer.finish().length);
    const found = `${sizes.join(" and ")} bytes, verify ${Request.verify(fields)}`;
    console.log(`${name}, ${Object.keys(fields)}: ${found}`);
  }
}
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
as it comes, max_tokens,top_p: 0 and 0 bytes, verify null
as it comes, maxTokens,topP: 7 and 7 bytes, verify null
keepCase, max_tokens,top_p: 7 and 7 bytes, verify null
keepCase, maxTokens,topP: 0 and 0 bytes, verify null
TEXT
cmp -s seen expected || { echo "Changed: names of fields in protobufjs" >&2; exit 1; }
