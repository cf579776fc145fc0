/**
 * TCP's collective against the conformance suite.
 *
 * @module
 */
import { testCollective } from "../helpers/collective_suite.ts";
import { connectTcp } from "../helpers/tcp_group.ts";

const PIECE_BYTES = 4096;

testCollective("TcpCollective", {
  sizes: [1, 2, 4],
  slotBytes: PIECE_BYTES,
  connect: (size, { timeoutMs }) => connectTcp(size, { timeoutMs, pieceBytes: PIECE_BYTES }),
});
