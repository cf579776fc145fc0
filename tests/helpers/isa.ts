/**
 * The environment's STARX_ISA for a while.
 *
 * @module
 */
import { describeCpu } from "../../lib/device/cpu_description.ts";

/** Runs with STARX_ISA as given, or without it. */
export async function withIsa<T>(value: string | undefined, run: () => Promise<T>): Promise<T> {
  const before = Deno.env.get("STARX_ISA");
  const set = (text: string | undefined): void => {
    if (text === undefined) Deno.env.delete("STARX_ISA");
    else Deno.env.set("STARX_ISA", text);
  };
  try {
    set(value);
    return await run();
  } finally {
    set(before);
  }
}

/** A set that this machine would not take by itself; it need not have it. */
export async function otherSet(): Promise<"avx2" | "avx512"> {
  return (await describeCpu()).best === "avx2" ? "avx512" : "avx2";
}
