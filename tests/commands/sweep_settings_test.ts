import { AXES } from "../../commands/sweep/axes.ts";
import {
  allSettings,
  exactOf,
  type Grid,
  gridOfFlags,
  methodOf,
  nameOf,
  planOf,
  readGrids,
  type Setting,
} from "../../commands/sweep/settings.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const namesOf = (...grids: readonly Grid[]): string[] => allSettings(grids).map(nameOf);

Deno.test("allSettings() gives every combination of what a mode has, each once", () => {
  const grid: Grid = {
    attn_type: ["dense", "xattn", "starx"],
    block_size: ["1/4"],
    stride: [8, 16],
    threshold: [0.3],
    density: [0.2],
  };
  assertEquals(namesOf(grid, { attn_type: ["xattn", "dense"], threshold: [0.3] }), [
    ...["dense", "xattn_s8_t0.3", "xattn_s8_d0.2", "xattn_s16_t0.3", "xattn_s16_d0.2"],
    ...["starx_b1of4_s8_t0.3", "starx_b1of4_s8_d0.2"],
    ...["starx_b1of4_s16_t0.3", "starx_b1of4_s16_d0.2"],
  ]);
  assertEquals(namesOf({ attn_type: ["xattn", "star"], block_size: [1024] }), [
    "xattn_s16_t0.95",
    "star_b1024",
  ]);
});

Deno.test("a share that each tile must hold is a value of --threshold", () => {
  const axis = AXES.find(({ name }) => name === "threshold");
  assert(axis !== undefined);
  assertEquals(axis.read("share:.050"), "share:0.05");
  for (const wrong of ["share:", "share:x", "share:0", "share:1.5"]) {
    assertEquals(axis.read(wrong), undefined, wrong);
  }
  const none = () => {
    throw new Error("no table is read");
  };
  const place = { length: 4096, tableIn: none, tableOf: none };
  assertEquals(axis.plan("share:0.05", place), { threshold: { share: 0.05 } });
  assertEquals(namesOf({ attn_type: ["xattn"], threshold: ["share:0.05"] }), [
    "xattn_s16_share0.05",
  ]);
});

Deno.test("allSettings() refuses files of one name, whose results would lie in one folder", () => {
  const files = (...threshold: string[]): Grid => ({ attn_type: ["xattn"], threshold });
  assertEquals(namesOf(files("a/{mode}-{length}.json", "a.json")), [
    "xattn_s16_t-mode-length",
    "xattn_s16_t-a",
  ]);
  assertThrows(
    () => allSettings([files("a/t.json", "b/t.json")]),
    UsageError,
    "--threshold: files must have names of their own: current value has xattn_s16_t-t twice",
  );
});

Deno.test("exactOf() and methodOf() say what a setting is compared with and a point of", () => {
  const setting: Setting = { attn_type: "starx", block_size: "1/4", stride: 16, threshold: 0.5 };
  assertEquals(nameOf(exactOf(setting)), "star_b1of4");
  assertEquals(methodOf(setting), "starx, b1of4, s16, one threshold");
  assertEquals(methodOf({ ...setting, threshold: 0.9 }), methodOf(setting));
  assertEquals(
    methodOf({ ...setting, threshold: "share:0.05" }),
    "starx, b1of4, s16, by share",
  );
  const { threshold: _threshold, ...rest } = setting;
  assertEquals(methodOf({ ...rest, density: 0.2 }), "starx, b1of4, s16, by density");
  assertEquals(nameOf(exactOf({ attn_type: "xattn", stride: 8, threshold: 1 })), "dense");
  assertEquals(nameOf(exactOf({ attn_type: "dense" })), "dense");
});

Deno.test("a setting keeps what is not selected as means, and its name and method say so", () => {
  const settings = allSettings([
    gridOfFlags({ attn_type: ["dense", "xattn"], threshold: [0.5], rest: ["drop", "mean"] }),
    gridOfFlags({ attn_type: ["xattn"], threshold: [0.5] }),
  ]);
  assertEquals(settings.map(nameOf), ["dense", "xattn_s16_t0.5", "xattn_s16_t0.5_mean"]);
  const place = { length: 4096 } as unknown as Parameters<typeof planOf>[1];
  assertEquals(settings.map((setting) => planOf(setting, place).rest), [
    undefined,
    undefined,
    "mean",
  ]);
  assertEquals(settings.slice(1).map(methodOf), [
    "xattn, s16, one threshold",
    "xattn, s16, mean, one threshold",
  ]);
  assertThrows(
    () => gridOfFlags({ attn_type: ["xattn"], rest: ["means"] }),
    UsageError,
    "--rest: must be one of mean, drop: current value is 'means'",
  );
});

Deno.test("a setting reads a share of the keys in phase 2, and is compared with all of them", () => {
  const settings = allSettings([
    gridOfFlags({
      attn_type: ["dense", "xattn", "ring"],
      threshold: [0.5],
      decode_keep: ["1", "0.5", "tau:0.9", "tau:1"],
    }),
  ]);
  assertEquals(settings.map(nameOf), [
    ...["dense", "dense_k0.5", "dense_ktau0.9"],
    ...["xattn_s16_t0.5", "xattn_s16_t0.5_k0.5", "xattn_s16_t0.5_ktau0.9", "ring"],
  ]);
  assertEquals(settings.map((setting) => nameOf(exactOf(setting))), [
    ...["dense", "dense", "dense", "dense", "dense", "dense", "ring"],
  ]);
  const place = { length: 4096 } as unknown as Parameters<typeof planOf>[1];
  assertEquals(settings.slice(0, 3).map((setting) => planOf(setting, place).decodeKeep), [
    ...[undefined, 0.5, { threshold: 0.9 }],
  ]);
  for (const wrong of ["0", "1.5", "tau:", "half"]) {
    assertThrows(
      () => gridOfFlags({ attn_type: ["dense"], decode_keep: [wrong] }),
      UsageError,
      `--decode_keep: must be a share as 0.5 or a threshold as tau:0.9, above 0 and at most 1: ` +
        `current value is '${wrong}'`,
    );
  }
});

Deno.test("planOf() turns shares of the length into tokens", () => {
  const place = {
    tableIn: () => assert(false, "no file is named"),
    tableOf: () => assert(false, "no density is named"),
  } as unknown as Parameters<typeof planOf>[1];
  const [setting] = allSettings([
    gridOfFlags({ attn_type: ["starx"], block_size: ["1/4"], anchor_block_size: ["1k"] }),
  ]);
  assert(setting !== undefined);
  assertEquals(planOf(setting, { ...place, length: 8192 }), {
    ...{ mode: "starx", blockTokens: 2048, anchorTokens: 1024, stride: 16, threshold: 0.95 },
  });
});

Deno.test("gridOfFlags() refuses what cannot be used, by the flag", () => {
  const cases: readonly (readonly [Parameters<typeof gridOfFlags>[0], string])[] = [
    [
      { attn_type: ["xattn"], threshold: ["1.5"] },
      "--threshold: must be above 0 and at most 1, share: and such a number, or the file of a table: current value is '1.5'",
    ],
    [{ attn_type: ["xattn"], stride: [24] }, "--stride: must be a divisor of 128"],
    [{ attn_type: ["xattn"], density: [0] }, "--density: must be above 0 and at most 1"],
    [{ attn_type: ["star"], block_size: ["5/4"] }, "--block_size: must be a whole number of"],
    [{ attn_type: ["star"], block_size: ["0"] }, "--block_size: must be a whole number of"],
    [{ attn_type: ["dense"], threshold: ["0.5"] }, "--threshold: must be absent in dense"],
  ];
  for (const [flags, message] of cases) {
    assertThrows(() => gridOfFlags(flags), UsageError, message);
  }
});

Deno.test("readGrids() reads lists and single values, and names file and key of a fault", async () => {
  const file = (value: unknown) => ({ "s.json": JSON.stringify(value) });
  const grids = [
    { attn_type: "xattn", threshold: [0.5, "t.json"] },
    { attn_type: ["star", "dense"], block_size: "1/4" },
  ];
  await inFolder(file(grids), async (folder) => {
    assertEquals(namesOf(...await readGrids(`${folder}/s.json`)), [
      ...["xattn_s16_t0.5", "xattn_s16_t-t", "star_b1of4", "dense"],
    ]);
  });
  const cases: readonly (readonly [unknown, string])[] = [
    [{ threshold: 0.5 }, 's.json as "attn_type" must be a mode'],
    [[{ attn_type: "sparse" }], 's.json as "[0].attn_type" must be one of dense, xattn'],
    [[{ attn_type: "xattn", treshold: 1 }], 's.json as "[0].treshold" must be absent, as'],
    [[{ attn_type: "xattn" }, { attn_type: "xattn", stride: [true] }], '"[1].stride" must be a'],
    [[], "s.json as it must hold settings"],
    [[3], 's.json as "[0]" must be an object'],
  ];
  for (const [value, message] of cases) {
    await inFolder(file(value), async (folder) => {
      await assertRejects(() => readGrids(`${folder}/s.json`), FileError, message);
    });
  }
});
