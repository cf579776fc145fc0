/**
 * Devices for tests: opened for one test, and empty of allocations at its end.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { describeCpu } from "../../lib/device/cpu_description.ts";
import type { Device } from "../../lib/device/device.ts";
import { INSTRUCTION_SET_CODES, type InstructionSet } from "../../lib/ffi/status.ts";
import { assertEquals } from "./assert.ts";

/** What `withCpu()` takes. */
export interface TestDeviceOptions {
  /** @default {1} */
  readonly threads?: number;
  /** @default {"auto"} */
  readonly instructionSet?: InstructionSet;
}

/** Runs with the tests' library and fails if memory is left over. */
export async function withCpu<T>(
  run: (device: Device) => T | Promise<T>,
  options: TestDeviceOptions = {},
): Promise<T> {
  const { threads = 1, instructionSet = "auto" } = options;
  using device = await openCpuDevice({ threads, instructionSet, tests: true });
  const result = await run(device);
  assertEquals(device.liveAllocations, 0, "all memory must be disposed of");
  return result;
}

/** The instruction sets of this machine that the library has code for, without the twins. */
export async function machineSets(): Promise<InstructionSet[]> {
  const { instructionSets } = await describeCpu({ tests: true });
  const names = Object.keys(INSTRUCTION_SET_CODES) as InstructionSet[];
  return names.filter((name) => instructionSets.includes(name));
}
