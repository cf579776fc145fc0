/**
 * MPI's collective under each library that is installed, against the conformance suite.
 *
 * @module
 */
import type { MpiFlavour } from "../../lib/ffi/mpi.ts";
import { testCollective } from "../helpers/collective_suite.ts";
import { connectMpi, hasMpirun } from "../helpers/remote_group.ts";

const PIECE_BYTES = 4096;
const SIZES: readonly (readonly [MpiFlavour, number[]])[] = [["openmpi", [1, 3]], ["mpich", [2]]];

for (const [flavour, sizes] of SIZES) {
  if (!await hasMpirun(flavour)) {
    Deno.test({ name: `MpiCollective with ${flavour} passes the suite`, ignore: true, fn() {} });
    continue;
  }
  testCollective(`MpiCollective with ${flavour}`, {
    sizes,
    slotBytes: PIECE_BYTES,
    connect: (size, { timeoutMs }) =>
      connectMpi(flavour, { size, timeoutMs, pieceBytes: PIECE_BYTES }),
  });
}
