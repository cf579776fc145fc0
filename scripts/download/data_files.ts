/**
 * RULER's source data: where each file comes from and what it holds.
 *
 * The addresses of SQuAD and HotpotQA are those of `download_qa_dataset.sh`
 * (ruler/data/synthetic/json of NVIDIA/Star-Attention). The essays are scraped from live pages there,
 * so every download differs; this takes one such download, kept in a repository at a fixed commit.
 *
 * @module
 */
import type { FileCheck } from "./check.ts";

/** What can be asked for by name. */
export const DATA_GROUPS = ["essays", "words", "squad", "hotpotqa", "punkt"] as const;

/** What is fetched only if it is asked for. */
export const EXTRA_GROUPS = ["english"] as const;

/** One of {@linkcode DATA_GROUPS} or {@linkcode EXTRA_GROUPS}. */
export type DataGroup = typeof DATA_GROUPS[number] | typeof EXTRA_GROUPS[number];

/** A file of the data folder. */
export interface DataFile {
  readonly group: DataGroup;
  /** Its path in the data folder. */
  readonly name: string;
  readonly check: Required<FileCheck>;
  /** Where it can be had; empty if it comes in an archive. */
  readonly addresses: readonly string[];
  /**
   * How a copy of other content is recognised: question sets are also passed on in shortened form,
   * which is enough to work with.
   */
  readonly acceptsCopy?: (value: unknown) => boolean;
}

/** An archive that holds files of the data folder. */
export interface DataArchive {
  readonly group: DataGroup;
  /** A name for people, and of the file while it is unpacked. */
  readonly name: string;
  readonly addresses: readonly string[];
  /** A larger archive is not fetched; nothing else is known of its size. */
  readonly maxBytes: number;
  /** Larger members are refused. */
  readonly maxMemberBytes: number;
}

const GITHUB = "https://raw.githubusercontent.com";

/** Tag v2.2.0, the version that RULER's published data was made with. */
const WONDERWORDS =
  `${GITHUB}/mrmaxguns/wonderwordsmodule/a32588706ff43bb2e50833011fa4609f29342226` +
  "/wonderwords/assets";

/** NLTK's `punkt_tab`; its members' names in the archive are those in the data folder. */
export const PUNKT_ARCHIVE: DataArchive = {
  group: "punkt",
  name: "punkt_tab.zip",
  addresses: [`${GITHUB}/nltk/nltk_data/gh-pages/packages/tokenizers/punkt_tab.zip`],
  maxBytes: 1 << 26,
  maxMemberBytes: 1 << 24,
};

/** All files, in the order in which they are fetched. */
export const DATA_FILES: readonly DataFile[] = [
  {
    group: "essays",
    name: "PaulGrahamEssays.json",
    check: sha256(
      3_108_596,
      "1af094ff36d47893ea3c09cc570038053b711a9ba728c9d2dca036dbb231fa41",
    ),
    addresses: [
      `${GITHUB}/Rya-Sanovar/RULER/99cd4ca0dc227d0635f860e4ac6af3c2a9efb75e` +
      "/scripts/data/synthetic/json/PaulGrahamEssays.json",
    ],
  },
  words("adjectivelist.txt", {
    bytes: 7_403,
    hex: "66814d46b7e292c83e839d12fe2fa083c8f66779b14b294e1be4e1342c5d4131",
  }),
  words("nounlist.txt", {
    bytes: 54_781,
    hex: "0778f51872f2aa89e0745c0cc37471a13e3d2161a79fcfdc03b6390b10604a55",
  }),
  words("verblist.txt", {
    bytes: 6_967,
    hex: "9fbf5e4e69b8869aebd88e6d545312ff9f878a747327ede5f6dbbba5c27b08ad",
  }),
  {
    group: "squad",
    name: "squad.json",
    check: sha256(
      4_370_528,
      "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
    ),
    addresses: ["https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v2.0.json"],
    acceptsCopy: (value) => isRecord(value) && isFilled(value["data"], "paragraphs"),
  },
  {
    group: "hotpotqa",
    name: "hotpotqa.json",
    check: sha256(
      46_320_117,
      "4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea",
    ),
    // The university's host is often out of reach; the second address has the same bytes.
    addresses: [
      "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_distractor_v1.json",
      "https://huggingface.co/datasets/RAGLAB/data/resolve" +
      "/c33b09b7fa5099b89830e84f9bdff78329268d9b/eval_datasets/HotPotQA/hotpot_dev_distractor_v1.json",
    ],
    acceptsCopy: (value) => isFilled(value, "context"),
  },
  punkt("abbrev_types.txt", {
    bytes: 619,
    hex: "92a3e070f43d9b4c5534758ca40ad7343b04e7e29bfe0c2eb658a39445a4f779",
  }),
  punkt("collocations.tab", {
    bytes: 594,
    hex: "8e2da1225e4dd2cc9dba261ee231ccb134859e21b46006e7f472c5ee269af0cf",
  }),
  punkt("ortho_context.tab", {
    bytes: 236_303,
    hex: "4bbcca25ed3d3f06c02402abf8419b9f033b8adc06e7b482eca4e45f81a5dc4c",
  }),
  punkt("sent_starters.txt", {
    bytes: 241,
    hex: "f3f8535483e1dba487241b764945168123bca3209a9645e59acd1225dc76edac",
  }),
];

/** Files of {@linkcode EXTRA_GROUPS}. */
export const EXTRA_FILES: readonly DataFile[] = [
  {
    // Newer RULER's words for lists of cwe that are longer than wonderwords'.
    group: "english",
    name: "english_words.json",
    check: sha256(
      8_564_991,
      "affcd6d45fdf3cc843d585c99c97ad615094e760e6c4756b654bab6c73bc2eca",
    ),
    addresses: [
      "https://media.githubusercontent.com/media/NVIDIA/RULER" +
      "/c3f5e3b4f87f97e048793bb510a3a6b19a46bf3a/scripts/data/synthetic/json/english_words.json",
    ],
  },
];

function sha256(bytes: number, hex: string): Required<FileCheck> {
  return { bytes, digest: { kind: "sha256", hex } };
}

function words(name: string, { bytes, hex }: { bytes: number; hex: string }): DataFile {
  return {
    group: "words",
    name,
    check: sha256(bytes, hex),
    addresses: [`${WONDERWORDS}/${name}`],
  };
}

function punkt(name: string, { bytes, hex }: { bytes: number; hex: string }): DataFile {
  return {
    group: "punkt",
    name: `punkt_tab/english/${name}`,
    check: sha256(bytes, hex),
    addresses: [],
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is a list whose items, at least one, have a list under `key`. */
function isFilled(value: unknown, key: string): boolean {
  return Array.isArray(value) && value.length > 0 &&
    value.every((item) => isRecord(item) && Array.isArray(item[key]));
}
