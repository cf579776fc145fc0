/**
 * MPI's collective under each library that is installed, against the conformance suite.
 *
 * @module
 */
import type { MpiFlavour } from "../../lib/ffi/mpi.ts";
import { testCollective } from "../helpers/collective_suite.ts";
import { connectMpi, hasMpirun } from "../helpers/remote_group.ts";

const PIECE_BYTES = 4096;
const FLAVOURS: readonly MpiFlavour[] = ["openmpi", "mpich"];

for (const flavour of FLAVOURS) {
  if (!await hasMpirun(flavour)) {
    Deno.test({ name: `MpiCollective with ${flavour} passes the suite`, ignore: true, fn() {} });
    continue;
  }
  testCollective(`MpiCollective with ${flavour}`, {
    sizes: [1, 3],
    slotBytes: PIECE_BYTES,
    connect: (size, { timeoutMs }) =>
      connectMpi(flavour, { size, timeoutMs, pieceBytes: PIECE_BYTES }),
  });
}
