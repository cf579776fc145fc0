import { checkSameRun, parseRunRecord } from "../../commands/shared/run_record.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assertEquals, assertThrows } from "../helpers/assert.ts";

const SESSION = { date: "d", command: "infer", deno: "2", host: "h", device: "cpu" };
const RECORD = {
  version: "1",
  model: { path: "m", sha256: "0" },
  kernels: "1",
  sessions: [SESSION],
  options: { attn_type: "dense", stop_words: ["a"], prompt_config: null, ignore_eos: false },
  unchecked: { threads: 1 },
  data: { input: { sha256: "2", samples: 3, cwe_freq: [1, 2], metric: "all" } },
};

Deno.test("parseRunRecord() takes what runs write, also earlier ones with less in it", () => {
  assertEquals(parseRunRecord(RECORD, "run.json"), RECORD as never);
  const { kernels: _kernels, sessions: _sessions, ...earlier } = RECORD;
  assertEquals(parseRunRecord(earlier, "run.json"), earlier as never);
});

const FAULTS: readonly (readonly [field: string, value: unknown])[] = [
  ["", []],
  ["version", { ...RECORD, version: 1 }],
  ["model", { ...RECORD, model: "m" }],
  ["model.path", { ...RECORD, model: { sha256: "0" } }],
  ["model.tokenizer", { ...RECORD, model: { ...RECORD.model, tokenizer: 1 } }],
  ["kernels", { ...RECORD, kernels: ["0"] }],
  ["kernels", { ...RECORD, kernels: null }],
  ["sessions", { ...RECORD, sessions: {} }],
  ["sessions.1", { ...RECORD, sessions: [SESSION, null] }],
  ["sessions.0.device", { ...RECORD, sessions: [{ ...SESSION, device: 7 }] }],
  ["options", { ...RECORD, options: { a: { b: 1 } } }],
  ["unchecked", { ...RECORD, unchecked: { a: [[1]] } }],
  ["data", { ...RECORD, data: [] }],
  ["data.x", { ...RECORD, data: { x: null } }],
  ["data.x.samples", { ...RECORD, data: { x: { sha256: "", samples: "3" } } }],
  ["data.x.cwe_freq", { ...RECORD, data: { x: { sha256: "", samples: 3, cwe_freq: [null] } } }],
  ["data.x.metric", { ...RECORD, data: { x: { sha256: "", samples: 3, metric: "constructor" } } }],
];

for (const [field, value] of FAULTS) {
  Deno.test(`parseRunRecord() names '${field}' in ${JSON.stringify(value).slice(0, 60)}...`, () => {
    assertThrows(
      () => parseRunRecord(value, "run.json"),
      FileError,
      `Cannot read run.json: it does not describe a run, as '${field}' must be `,
    );
  });
}

Deno.test("checkSameRun() names what stands for a flag that was not given", () => {
  const recordOf = (options: Readonly<Record<string, string>>) =>
    parseRunRecord({ ...RECORD, options: { ...RECORD.options, ...options } }, "run.json");
  const place = { folder: "out", remedy: "give --overwrite" };
  for (
    const [before, now, message] of [
      [
        { cache: "int8" },
        {},
        "--cache: cannot continue the results in out, which were made with " +
        "int8: current value is auto (give --overwrite)",
      ],
      [{}, { weights: "fp8" }, "made with auto: current value is fp8"],
      [{ head: "int8" }, {}, "made with int8: current value is bf16"],
    ] as const
  ) {
    assertThrows(
      () => checkSameRun(recordOf(before), recordOf(now), place),
      UsageError,
      message,
    );
  }
});
