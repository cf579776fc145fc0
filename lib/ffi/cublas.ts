/**
 * cuBLAS: matrix products of bf16 numbers with f32 sums, which may be rounded to bf16 in the end.
 * Signatures follow `cublas_api.h` of CUDA 12 and 13, which agree in them.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { CUBLAS, locateCudaLibrary } from "./cuda_locate.ts";
import { type ForeignLibrary, openResidentLibrary } from "./library.ts";
import { addressOf } from "./memory.ts";
import { DTYPE_CODES } from "./status.ts";

/** Each parameter is commented with its C declaration. */
const SYMBOLS = {
  // cublasStatus_t cublasCreate_v2(cublasHandle_t* handle)
  cublasCreate_v2: { parameters: ["buffer"], result: "i32" },
  // cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
  cublasDestroy_v2: { parameters: ["u64"], result: "i32" },
  // cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int* version)
  cublasGetVersion_v2: { parameters: ["u64", "buffer"], result: "i32" },
  // cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
  cublasSetStream_v2: { parameters: ["u64", "u64"], result: "i32" },
  // cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t bytes)
  cublasSetWorkspace_v2: { parameters: ["u64", "u64", "usize"], result: "i32" },
  // cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
  cublasSetMathMode: { parameters: ["u64", "i32"], result: "i32" },
  cublasGemmEx: {
    parameters: [
      "u64", // cublasHandle_t handle
      "i32", // cublasOperation_t transa
      "i32", // cublasOperation_t transb
      "i32", // int m
      "i32", // int n
      "i32", // int k
      "u64", // const void* alpha
      "u64", // const void* A
      "i32", // cudaDataType Atype
      "i32", // int lda
      "u64", // const void* B
      "i32", // cudaDataType Btype
      "i32", // int ldb
      "u64", // const void* beta
      "u64", // void* C
      "i32", // cudaDataType Ctype
      "i32", // int ldc
      "i32", // cublasComputeType_t computeType
      "i32", // cublasGemmAlgo_t algo
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** `cublasStatus_t`. */
const STATUS_NAMES: Readonly<Record<number, string>> = {
  1: "CUBLAS_STATUS_NOT_INITIALIZED",
  3: "CUBLAS_STATUS_ALLOC_FAILED",
  7: "CUBLAS_STATUS_INVALID_VALUE",
  8: "CUBLAS_STATUS_ARCH_MISMATCH",
  11: "CUBLAS_STATUS_MAPPING_ERROR",
  13: "CUBLAS_STATUS_EXECUTION_FAILED",
  14: "CUBLAS_STATUS_INTERNAL_ERROR",
  15: "CUBLAS_STATUS_NOT_SUPPORTED",
  16: "CUBLAS_STATUS_LICENSE_ERROR",
};

const OP_NONE = 0;
const OP_TRANSPOSED = 1;
/** `cudaDataType`. */
const R_32F = 0;
const R_16BF = 14;
/** `CUBLAS_COMPUTE_32F`. */
const COMPUTE_32F = 68;
/**
 * `CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION`: parts of a sum are added in f32 where the result
 * is bf16, too.
 */
const F32_REDUCTIONS = 16;
/** `CUBLAS_GEMM_DEFAULT`. */
const ALGORITHM = -1;

/** `cudaDataType` of a result, by its `sx_dtype`. */
export const RESULT_TYPES: Readonly<Record<number, number>> = {
  [DTYPE_CODES.f32]: R_32F,
  [DTYPE_CODES.bf16]: R_16BF,
};

/** out [m, n] f32 or bf16 (+)= x [m, k] bf16 times weight [n, k] bf16, all row-major. */
export interface BlasProduct {
  readonly out: bigint;
  /** `sx_dtype`. */
  readonly outDtype: number;
  readonly x: bigint;
  readonly weight: bigint;
  readonly accumulate: boolean;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly xStride: number;
  readonly outStride: number;
}

/** A handle of cuBLAS on one stream. */
export class Blas implements Disposable {
  readonly path: string;
  readonly #library: ForeignLibrary<typeof SYMBOLS>;
  readonly #handle: bigint;
  /** 0 and 1 as C reads them; referenced from here while C may. */
  readonly #factors = Float32Array.of(0, 1);
  readonly #zero: bigint;
  readonly #one: bigint;
  #open = true;

  /**
   * @param options `stream` and scratch memory on its device, which outlive the handle.
   * @throws {DeviceError} If the library is nowhere to be found, or cannot be used.
   */
  constructor(options: { stream: bigint; workspace: bigint; workspaceBytes: number }) {
    this.path = locateCudaLibrary(CUBLAS);
    this.#zero = addressOf(this.#factors);
    this.#one = this.#zero + 4n;
    this.#library = openResidentLibrary(this.path, SYMBOLS);
    try {
      const { symbols } = this.#library;
      const out = new BigUint64Array(1);
      checkBlas("cublasCreate", symbols.cublasCreate_v2(new Uint8Array(out.buffer)));
      this.#handle = out[0] ?? 0n;
      const { stream, workspace, workspaceBytes } = options;
      checkBlas("cublasSetStream", symbols.cublasSetStream_v2(this.#handle, stream));
      // After the stream: setting a stream gives the workspace back. Without one of its own, a
      // product that is recorded would allocate.
      const status = symbols.cublasSetWorkspace_v2(
        this.#handle,
        workspace,
        BigInt(workspaceBytes),
      );
      checkBlas("cublasSetWorkspace", status);
      const mode = symbols.cublasSetMathMode(this.#handle, F32_REDUCTIONS);
      checkBlas("cublasSetMathMode", mode);
    } catch (error) {
      this.#library.close();
      throw error;
    }
  }

  /** As 10000 * major + 100 * minor + patch. */
  version(): number {
    const out = new Int32Array(1);
    const bytes = new Uint8Array(out.buffer);
    checkBlas("cublasGetVersion", this.#library.symbols.cublasGetVersion_v2(this.#handle, bytes));
    return out[0] ?? 0;
  }

  /** Starts a product on the stream. */
  multiply(product: BlasProduct): void {
    const { out, outDtype, x, weight, accumulate, m, n, k, xStride, outStride } = product;
    // cuBLAS counts in columns: what is row-major here is the transpose there.
    const status = this.#library.symbols.cublasGemmEx(
      this.#handle,
      OP_TRANSPOSED,
      OP_NONE,
      n,
      m,
      k,
      this.#one,
      weight,
      R_16BF,
      k,
      x,
      R_16BF,
      xStride,
      accumulate ? this.#one : this.#zero,
      out,
      RESULT_TYPES[outDtype] ?? R_32F,
      outStride,
      COMPUTE_32F,
      ALGORITHM,
    );
    checkBlas("cublasGemmEx", status, () => `${m} x ${n} x ${k}`);
  }

  /** Destroys the handle; a second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#library.symbols.cublasDestroy_v2(this.#handle);
    this.#library.close();
  }
}

/** Throws unless a call of cuBLAS or cuBLASLt worked. @throws {DeviceError} With the status by name. */
export function checkBlas(name: string, status: number, shapes: () => string = () => ""): void {
  if (status === 0) return;
  const given = shapes() === "" ? "" : ` with ${shapes()}`;
  throw new DeviceError(
    `Cannot use the GPU as ${name}${given} returned ${STATUS_NAMES[status] ?? `status ${status}`}`,
  );
}
