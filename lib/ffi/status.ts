/**
 * The numbers of `sx_kernels.h` by name: statuses, dtypes, instruction sets.
 *
 * @module
 */
import { KernelError } from "../errors.ts";

/** `sx_status`: the name of each number. */
export const STATUS_NAMES = [
  "SX_OK",
  "SX_INVALID_ARGUMENT",
  "SX_UNSUPPORTED",
  "SX_OUT_OF_MEMORY",
  "SX_DEVICE_ERROR",
] as const;

/** `sx_dtype`: the number of each element type. */
export const DTYPE_CODES = { f32: 0, bf16: 1, f16: 2, i32: 3, i8: 4, f8e4m3: 5 } as const;

/** The instruction sets of the CPU library: the number of each, `SX_ISA_*`. */
export const INSTRUCTION_SET_CODES = {
  auto: 0,
  scalar: 1,
  avx2: 2,
  avx512: 3,
  avx512_bf16: 4,
  amx_bf16: 5,
} as const;

/** What multiplies the rows of decode steps on a CPU: a set, or `own`, the one that does everything else. */
export type RowsSetName = "own" | "avx2" | "avx512" | "avx512_bf16" | "amx_bf16";

/** All of them. */
export const ROWS_SETS = [
  "own",
  "avx2",
  "avx512",
  "avx512_bf16",
  "amx_bf16",
] as const satisfies readonly RowsSetName[];

/** A name that `openCpuDevice()` takes. */
export type InstructionSet = keyof typeof INSTRUCTION_SET_CODES;

/** The status of a call that worked. */
export const STATUS_OK = 0;

/** The name of a status, also of one that this version does not know. */
export function statusName(status: number): string {
  return STATUS_NAMES[status] ?? `status ${status}`;
}

/**
 * Throws unless a call worked.
 *
 * @param status What the call returned.
 * @param call `op`: the C name. `shapes`: what it was given. `errorText`: the library's own words.
 * @throws {KernelError} If `status` is not `SX_OK`.
 */
export function checkStatus(
  status: number,
  call: { op: string; shapes: () => string; errorText: () => string },
): void {
  if (status === STATUS_OK) return;
  const name = statusName(status);
  const shapes = call.shapes();
  const given = shapes === "" ? "" : ` with ${shapes}`;
  const text = call.errorText();
  const reason = text === "" ? "" : `: ${text}`;
  throw new KernelError(`Cannot run ${call.op}${given} as it returned ${name}${reason}`, {
    op: call.op,
    status: name,
  });
}
