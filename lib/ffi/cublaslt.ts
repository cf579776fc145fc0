/**
 * cuBLASLt: products of e4m3 numbers with f32 sums, every row of either factor having a scale.
 * Signatures and numbers follow `cublasLt.h` of CUDA 12.9 and 13, which agree in them.
 *
 * An algorithm is chosen once for each matrix of weights, for a full chunk and without splitting sums,
 * and then taken for every number of rows: so a row of the result has the same bits whatever rows are
 * beside it.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { checkBlas, RESULT_TYPES } from "./cublas.ts";
import { CUBLAS_LT, locateCudaLibrary } from "./cuda_locate.ts";
import { type ForeignLibrary, openResidentLibrary } from "./library.ts";
import { addressOf } from "./memory.ts";

/** Each parameter is commented with its C declaration. */
const SYMBOLS = {
  // cublasStatus_t cublasLtCreate(cublasLtHandle_t* lightHandle)
  cublasLtCreate: { parameters: ["buffer"], result: "i32" },
  // cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle)
  cublasLtDestroy: { parameters: ["u64"], result: "i32" },
  // size_t cublasLtGetVersion(void)
  cublasLtGetVersion: { parameters: [], result: "usize" },
  // cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* matmulDesc,
  //   cublasComputeType_t computeType, cudaDataType_t scaleType)
  cublasLtMatmulDescCreate: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  // cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc)
  cublasLtMatmulDescDestroy: { parameters: ["u64"], result: "i32" },
  // cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc,
  //   cublasLtMatmulDescAttributes_t attr, const void* buf, size_t sizeInBytes)
  cublasLtMatmulDescSetAttribute: { parameters: ["u64", "i32", "buffer", "usize"], result: "i32" },
  // cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* matLayout,
  //   cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
  cublasLtMatrixLayoutCreate: { parameters: ["buffer", "i32", "u64", "u64", "i64"], result: "i32" },
  // cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout)
  cublasLtMatrixLayoutDestroy: { parameters: ["u64"], result: "i32" },
  // cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout,
  //   cublasLtMatrixLayoutAttribute_t attr, const void* buf, size_t sizeInBytes)
  cublasLtMatrixLayoutSetAttribute: {
    parameters: ["u64", "i32", "buffer", "usize"],
    result: "i32",
  },
  // cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* pref)
  cublasLtMatmulPreferenceCreate: { parameters: ["buffer"], result: "i32" },
  // cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref)
  cublasLtMatmulPreferenceDestroy: { parameters: ["u64"], result: "i32" },
  // cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
  //   cublasLtMatmulPreferenceAttributes_t attr, const void* buf, size_t sizeInBytes)
  cublasLtMatmulPreferenceSetAttribute: {
    parameters: ["u64", "i32", "buffer", "usize"],
    result: "i32",
  },
  cublasLtMatmulAlgoGetHeuristic: {
    parameters: [
      "u64", // cublasLtHandle_t lightHandle
      "u64", // cublasLtMatmulDesc_t operationDesc
      "u64", // cublasLtMatrixLayout_t Adesc
      "u64", // cublasLtMatrixLayout_t Bdesc
      "u64", // cublasLtMatrixLayout_t Cdesc
      "u64", // cublasLtMatrixLayout_t Ddesc
      "u64", // cublasLtMatmulPreference_t preference
      "i32", // int requestedAlgoCount
      "buffer", // cublasLtMatmulHeuristicResult_t heuristicResultsArray[]
      "buffer", // int* returnAlgoCount
    ],
    result: "i32",
  },
  cublasLtMatmul: {
    parameters: [
      "u64", // cublasLtHandle_t lightHandle
      "u64", // cublasLtMatmulDesc_t computeDesc
      "u64", // const void* alpha
      "u64", // const void* A
      "u64", // cublasLtMatrixLayout_t Adesc
      "u64", // const void* B
      "u64", // cublasLtMatrixLayout_t Bdesc
      "u64", // const void* beta
      "u64", // const void* C
      "u64", // cublasLtMatrixLayout_t Cdesc
      "u64", // void* D
      "u64", // cublasLtMatrixLayout_t Ddesc
      "buffer", // const cublasLtMatmulAlgo_t* algo
      "u64", // void* workspace
      "usize", // size_t workspaceSizeInBytes
      "u64", // cudaStream_t stream
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The first version with a scale for every row: `CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F`. */
const LEAST_VERSION = 120_900;
/** `CUBLAS_OP_T`. */
const OP_TRANSPOSED = 1;
/** `cudaDataType`. */
const R_32F = 0;
const R_8F_E4M3 = 28;
/** `CUBLAS_COMPUTE_32F`. */
const COMPUTE_32F = 68;
/** `CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F`. */
const SCALE_OF_ROWS = 3;
/** `cublasLtMatmulDescAttributes_t`. */
const DESC = { transA: 3, aScales: 17, bScales: 18, fast: 25, aScaleMode: 31, bScaleMode: 32 };
/** `CUBLASLT_MATRIX_LAYOUT_COLS`. */
const LAYOUT_COLUMNS = 3;
/** `cublasLtMatmulPreferenceAttributes_t`. */
const PREFERENCE = { workspace: 1, reductions: 3, alignments: [5, 6, 7, 8] };
/** `CUBLASLT_REDUCTION_SCHEME_NONE`: a sum is made in one place. */
const NO_REDUCTION = 0;
/** What addresses, and rows of bytes, are multiples of. */
const ALIGNMENT = 16;
/** `cublasLtMatmulAlgo_t` and `cublasLtMatmulHeuristicResult_t`. */
const ALGORITHM_BYTES = 64;
const RESULT_BYTES = 96;
/** The number of rows that an algorithm is chosen for: a full chunk. */
const CHOSEN_ROWS = 8192;

/**
 * out [m, n] f32 or bf16 (+)= x [m, k] times weight [n, k], both e4m3, times xScales [m] and
 * weightScales [n].
 */
export interface ScaledProduct {
  readonly out: bigint;
  /** `sx_dtype`. */
  readonly outDtype: number;
  readonly x: bigint;
  readonly xScales: bigint;
  readonly weight: bigint;
  readonly weightScales: bigint;
  readonly accumulate: boolean;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly xStride: number;
  readonly outStride: number;
}

/** What `BlasLt` works with; it owns none of it. */
export interface BlasLtOptions {
  readonly stream: bigint;
  /** Scratch memory on the stream's device. */
  readonly workspace: bigint;
  readonly workspaceBytes: number;
  /**
   * Whether the tensor cores keep sums to themselves, with some 14 bits, instead of adding them up in f32
   * every so many elements.
   */
  readonly fastAccumulation: boolean;
}

/** Layouts and algorithm of the products with one matrix. */
interface Plan {
  readonly weight: bigint;
  readonly x: bigint;
  readonly out: bigint;
  readonly algorithm: Uint8Array<ArrayBuffer>;
  /** Rows that the layouts of x and out say now. */
  rows: number;
}

/** Products of e4m3 numbers on one stream. The library is opened by the first one. */
export class BlasLt implements Disposable {
  readonly #options: BlasLtOptions;
  #opened: OpenBlasLt | undefined;
  #closed = false;

  constructor(options: BlasLtOptions) {
    this.#options = options;
  }

  /**
   * Starts a product on the stream, whose GPU is the thread's.
   *
   * @throws {DeviceError} If the library is nowhere to be found, is too old, or refuses.
   */
  multiply(product: ScaledProduct): void {
    if (this.#closed) throw new TypeError("Cannot multiply as cuBLASLt is closed");
    this.#opened ??= new OpenBlasLt(this.#options);
    this.#opened.multiply(product);
  }

  /** Destroys the handle, if there is one; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#opened?.close();
  }
}

class OpenBlasLt {
  readonly #options: BlasLtOptions;
  readonly #library: ForeignLibrary<typeof SYMBOLS>;
  readonly #handle: bigint;
  readonly #operation: bigint;
  readonly #plans = new Map<string, Plan>();
  /** 0 and 1 as C reads them; referenced from here while C may. */
  readonly #factors = Float32Array.of(0, 1);
  readonly #zero: bigint;
  readonly #one: bigint;

  constructor(options: BlasLtOptions) {
    this.#options = options;
    this.#zero = addressOf(this.#factors);
    this.#one = this.#zero + 4n;
    const path = locateCudaLibrary(CUBLAS_LT);
    this.#library = openResidentLibrary(path, SYMBOLS);
    try {
      const { symbols } = this.#library;
      const version = Number(symbols.cublasLtGetVersion());
      if (version < LEAST_VERSION) {
        throw new DeviceError(
          `Cannot multiply e4m3 by ${path} as its version must be at least ${LEAST_VERSION}: ` +
            `current value is ${version}`,
        );
      }
      this.#handle = made("cublasLtCreate", (out) => symbols.cublasLtCreate(out));
      this.#operation = this.#makeOperation();
    } catch (error) {
      this.#library.close();
      throw error;
    }
  }

  #makeOperation(): bigint {
    const operation = made(
      "cublasLtMatmulDescCreate",
      (out) => this.#library.symbols.cublasLtMatmulDescCreate(out, COMPUTE_32F, R_32F),
    );
    const ints: [number, number][] = [
      [DESC.transA, OP_TRANSPOSED],
      [DESC.aScaleMode, SCALE_OF_ROWS],
      [DESC.bScaleMode, SCALE_OF_ROWS],
    ];
    for (const [attribute, value] of ints) this.#describe(operation, attribute, intBytes(value));
    const fast = Uint8Array.of(this.#options.fastAccumulation ? 1 : 0);
    this.#describe(operation, DESC.fast, fast);
    return operation;
  }

  #describe(operation: bigint, attribute: number, value: Uint8Array<ArrayBuffer>): void {
    checkBlas(
      "cublasLtMatmulDescSetAttribute",
      this.#library.symbols.cublasLtMatmulDescSetAttribute(
        operation,
        attribute,
        value,
        BigInt(value.length),
      ),
      () => `attribute ${attribute}`,
    );
  }

  multiply(product: ScaledProduct): void {
    const { out, x, weight, accumulate, m, n, k } = product;
    this.#describe(this.#operation, DESC.aScales, wordBytes(product.weightScales));
    this.#describe(this.#operation, DESC.bScales, wordBytes(product.xScales));
    const plan = this.#planOf(product);
    this.#setRows(plan, m);
    const { workspace, workspaceBytes, stream } = this.#options;
    // cuBLAS counts in columns: what is row-major here is the transpose there.
    const status = this.#library.symbols.cublasLtMatmul(
      this.#handle,
      this.#operation,
      this.#one,
      weight,
      plan.weight,
      x,
      plan.x,
      accumulate ? this.#one : this.#zero,
      out,
      plan.out,
      out,
      plan.out,
      plan.algorithm,
      workspace,
      BigInt(workspaceBytes),
      stream,
    );
    checkBlas("cublasLtMatmul", status, () => `${m} x ${n} x ${k}`);
  }

  /** Layouts and algorithm; the operation has scales already, without which none is chosen. */
  #planOf({ n, k, xStride, outStride, outDtype }: ScaledProduct): Plan {
    const key = [n, k, xStride, outStride, outDtype].join(" ");
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const layout = (dtype: number, columns: number, rows: number, stride: number) =>
      made("cublasLtMatrixLayoutCreate", (out) =>
        this.#library.symbols.cublasLtMatrixLayoutCreate(
          out,
          dtype,
          BigInt(columns),
          BigInt(rows),
          BigInt(stride),
        ));
    const layouts = {
      weight: layout(R_8F_E4M3, k, n, k),
      x: layout(R_8F_E4M3, k, CHOSEN_ROWS, xStride),
      out: layout(RESULT_TYPES[outDtype] ?? R_32F, n, CHOSEN_ROWS, outStride),
    };
    const algorithm = this.#choose(layouts, `${n} x ${k}`);
    const plan = { ...layouts, algorithm, rows: CHOSEN_ROWS };
    this.#plans.set(key, plan);
    return plan;
  }

  #choose(
    layouts: { readonly weight: bigint; readonly x: bigint; readonly out: bigint },
    shape: string,
  ): Uint8Array<ArrayBuffer> {
    const { symbols } = this.#library;
    const { weight, x, out } = layouts;
    const preference = made(
      "cublasLtMatmulPreferenceCreate",
      (out) => symbols.cublasLtMatmulPreferenceCreate(out),
    );
    const prefer = (attribute: number, value: Uint8Array<ArrayBuffer>) =>
      checkBlas(
        "cublasLtMatmulPreferenceSetAttribute",
        symbols.cublasLtMatmulPreferenceSetAttribute(
          preference,
          attribute,
          value,
          BigInt(value.length),
        ),
        () => `attribute ${attribute}`,
      );
    const result = new Uint8Array(RESULT_BYTES);
    const count = new Int32Array(1);
    try {
      prefer(PREFERENCE.workspace, wordBytes(BigInt(this.#options.workspaceBytes)));
      prefer(PREFERENCE.reductions, intBytes(NO_REDUCTION));
      for (const attribute of PREFERENCE.alignments) prefer(attribute, intBytes(ALIGNMENT));
      checkBlas(
        "cublasLtMatmulAlgoGetHeuristic",
        symbols.cublasLtMatmulAlgoGetHeuristic(
          this.#handle,
          this.#operation,
          weight,
          x,
          out,
          out,
          preference,
          1,
          result,
          new Uint8Array(count.buffer),
        ),
        () => shape,
      );
    } finally {
      symbols.cublasLtMatmulPreferenceDestroy(preference);
    }
    if (count[0] !== 1) {
      throw new DeviceError(`Cannot multiply e4m3 as cuBLASLt has no algorithm for ${shape}`);
    }
    return result.slice(0, ALGORITHM_BYTES);
  }

  #setRows(plan: Plan, rows: number): void {
    if (plan.rows === rows) return;
    const value = wordBytes(BigInt(rows));
    for (const layout of [plan.x, plan.out]) {
      const status = this.#library.symbols.cublasLtMatrixLayoutSetAttribute(
        layout,
        LAYOUT_COLUMNS,
        value,
        BigInt(value.length),
      );
      checkBlas("cublasLtMatrixLayoutSetAttribute", status, () => `${rows} rows`);
    }
    plan.rows = rows;
  }

  close(): void {
    const { symbols } = this.#library;
    for (const { weight, x, out } of this.#plans.values()) {
      for (const layout of [weight, x, out]) symbols.cublasLtMatrixLayoutDestroy(layout);
    }
    symbols.cublasLtMatmulDescDestroy(this.#operation);
    symbols.cublasLtDestroy(this.#handle);
    this.#library.close();
  }
}

/** What a function makes: an address that it writes. */
function made(name: string, make: (out: Uint8Array<ArrayBuffer>) => number): bigint {
  const out = new BigUint64Array(1);
  checkBlas(name, make(new Uint8Array(out.buffer)));
  return out[0] ?? 0n;
}

function intBytes(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Int32Array.of(value).buffer);
}

function wordBytes(value: bigint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}
