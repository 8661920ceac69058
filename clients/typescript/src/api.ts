// Made by `npm run types` from the OpenAPI document: do not edit.

export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** The stable name that programs switch on */
  code: string;
  /** Whether the same request may succeed later */
  retryable: boolean;
  request_id: string;
};

export type BatchRequest = {
  keys: Array<string>;
  fields?: Array<string> | null;
  version?: number | null;
  key_encoding?: "utf8" | "base64url" | "hex" | null;
};

export type BatchAnswer = {
  version: number;
  results: Array<{
    key: string;
    found: boolean;
    /** The value inline if the dataset's values are JSON, else base64 */
    value?: unknown;
    encoding?: "base64";
  }>;
};

export type BatchesRequest = {
  requests: Array<{
    /** A dataset's name; one that is none has its error in its place */
    dataset: string;
    keys: Array<string>;
    fields?: Array<string> | null;
    version?: number | null;
    key_encoding?: "utf8" | "base64url" | "hex" | null;
  }>;
};

export type BatchesAnswer = {
  answers: Array<{
    dataset: string;
    /** Only while a canary of the dataset runs */
    arm?: "current" | "canary";
    version?: number;
    results?: Array<{
      key: string;
      found: boolean;
      /** The value inline if the dataset's values are JSON, else base64 */
      value?: unknown;
      encoding?: "base64";
    }>;
    error?: Problem;
  }>;
};

export type ScanAnswer = {
  version: number;
  records: Array<{
    key: string;
    /** The value inline if the dataset's values are JSON, else base64 */
    value: unknown;
    key_encoding?: string;
    encoding?: string;
  }>;
  next: string | null;
};

export type CreateRequest = {
  label?: string | null;
  as_of?: string | null;
  activate?: boolean;
  format?: "ndjson" | "jsonl" | "json" | "csv" | "tsv" | "parquet" | "avro" | "arrow" | "redshift";
  key: string | Array<string>;
  key_separator?: string;
  fields?: string | Array<string>;
  value?: string;
  collect?: boolean;
  order_by?: string | Array<string>;
  limit?: number;
  on_duplicate?: "fail" | "first" | "last";
  types?: string | Record<string, string>;
  null?: string | Array<string>;
  nan?: "fail" | "null";
  delimiter?: string;
  columns?: string | Array<string>;
};

/** Begins a push whose parts are the files of a snapshot */
export type SnapshotRequest = {
  format: "snapshot";
  label?: string | null;
  as_of?: string | null;
  activate?: boolean;
};

export type BeginRequest = CreateRequest | SnapshotRequest;

export type ImportRequest = {
  /** A name in the settings of the server */
  source: string;
  /** Beneath its prefix; all beneath it if it ends in / */
  path?: string;
  accept_unfinished?: boolean;
  manifest?: boolean;
  label?: string | null;
  as_of?: string | null;
  activate?: boolean;
  format?: "ndjson" | "jsonl" | "json" | "csv" | "tsv" | "parquet" | "avro" | "arrow" | "redshift";
  key: string | Array<string>;
  key_separator?: string;
  fields?: string | Array<string>;
  value?: string;
  collect?: boolean;
  order_by?: string | Array<string>;
  limit?: number;
  on_duplicate?: "fail" | "first" | "last";
  types?: string | Record<string, string>;
  null?: string | Array<string>;
  nan?: "fail" | "null";
  delimiter?: string;
  columns?: string | Array<string>;
};

export type CommitRequest = {
  activate?: boolean;
  parts?: Array<string>;
};

export type ActivateRequest = {
  version: number;
  force?: boolean;
  reason?: string | null;
  expect_current?: number | null;
};

export type ActivateTogetherRequest = {
  /** Each dataset once */
  activations: Array<{
    dataset: string;
    version: number;
    force?: boolean;
    expect_current?: number | null;
  }>;
  /** For all of them */
  force?: boolean;
  reason?: string | null;
};

export type RollbackRequest = {
  to?: number | null;
  reason?: string | null;
  hold?: boolean;
  expect_current?: number | null;
};

export type CanaryRequest = {
  version: number;
  percent: number;
  experiment?: string | null;
  reason?: string | null;
  /** Do nothing unless this version is the canary, or unless none is (null) */
  expect_canary?: number | null;
};

export type PromoteRequest = {
  /** The version that must be the canary */
  version?: number | null;
  reason?: string | null;
  expect_current?: number | null;
};

export type Canary = {
  dataset: string;
  version: number;
  percent: number;
  experiment: string;
  started_at: string;
  actor?: string;
  reason?: string | null;
  /** What was counted since the canary was started, or since this server was */
  arms: {
    current?: {
      lookups?: number;
      hits?: number;
      misses?: number;
      errors?: number;
      p50_us?: number | null;
      p99_us?: number | null;
    };
    canary?: {
      lookups?: number;
      hits?: number;
      misses?: number;
      errors?: number;
      p50_us?: number | null;
      p99_us?: number | null;
    };
  };
  changed?: boolean;
};

export type CanaryEnded = {
  dataset: string;
  current?: number | null;
  ended: {
    version?: number;
    percent?: number;
    experiment?: string;
    started_at?: string;
    actor?: string;
    reason?: string | null;
    /** What was counted since the canary was started, or since this server was */
    arms?: {
      current?: {
        lookups?: number;
        hits?: number;
        misses?: number;
        errors?: number;
        p50_us?: number | null;
        p99_us?: number | null;
      };
      canary?: {
        lookups?: number;
        hits?: number;
        misses?: number;
        errors?: number;
        p50_us?: number | null;
        p99_us?: number | null;
      };
    };
  };
};

export type ReasonRequest = {
  reason?: string | null;
};

export type Version = {
  dataset: string;
  version: number;
  state: "receiving" | "building" | "verifying" | "ready" | "active" | "retired" | "failed" | "rejected" | "bad" | "deleted";
  current: boolean;
  label?: string | null;
  as_of?: string | null;
  records?: number | null;
  bytes?: number | null;
  raw_bytes?: number | null;
  /** When every byte of it was read last and compared with what was published */
  read_at?: string | null;
  damaged?: Damage;
  content_digest?: string | null;
  created_at?: string;
  ready_at?: string | null;
  activated_at?: string | null;
  /** The row options as they were given */
  source?: unknown;
  gates?: Array<{
    gate?: string;
    limit?: number;
    observed?: number;
    passed?: boolean;
    detail?: string;
  }>;
  reason?: string | null;
  code?: string | null;
  problems?: Array<string>;
  /** There if something quotes rows, keys or values (problems, details of gates, detail), and whoever asks may neither read nor push */
  problems_withheld?: boolean;
  duplicates_dropped?: number;
  progress?: {
    phase?: string;
    rows?: number;
    bytes?: number;
    total_bytes?: number;
  } | null;
  held?: boolean;
  activate?: boolean;
  detail?: string;
};

export type Damage = {
  /** The first file of the version that is not as it was published */
  file?: string;
  /** Where in it the first damaged record begins, if a record is damaged */
  offset?: number | null;
  /** Since when that is known */
  since?: string;
  detail?: string;
} | null;

export type Verified = {
  dataset: string;
  version: number;
  /** Null while it is being read */
  sound: boolean | null;
  /** Bytes read (so far) */
  bytes: number;
  read_at: string | null;
  damaged: Damage;
};

export type Versions = {
  versions: Array<Version>;
  /** The cursor of the next page */
  next: string | null;
};

export type Part = {
  name: string;
  /** The same as name */
  part?: string;
  bytes: number;
  /** SHA-256 as Content-Digest writes it; empty for the body of a push in one request that nobody asked for it */
  digest: string;
};

export type Parts = {
  parts: Array<Part>;
  /** The cursor of the next page */
  next: string | null;
};

export type Snapshot = {
  dataset: string;
  version: number;
  /** BLAKE3 of manifest.json: which files these are */
  digest: string;
  /** BLAKE3 of the records */
  content_digest: string;
  records: number;
  /** Of all files */
  bytes: number;
  files: Array<{
    name: string;
    bytes: number;
    blake3: string;
  }>;
};

export type DatasetConfig = {
  /** How many versions that have served are kept, the current one among them */
  retain?: number;
  /** The media type of the values */
  content_type?: string;
  /** How new versions are compressed */
  compression?: "none" | "lz4" | "zstd";
  /** What a version must pass before it may be activated; null turns one off */
  gates?: {
    /** The fewest records */
    min_records?: number | null;
    /** By how many percent fewer records than the current version */
    max_shrink_percent?: number | null;
    /** By how many percent more records than the current version */
    max_growth_percent?: number | null;
    /** Keys that must be there */
    required_keys?: Array<string> | null;
    /** How many percent of the keys of the current version may be missing */
    max_keys_removed_percent?: number | null;
    /** How many percent of the keys may be such as the current version does not have */
    max_keys_added_percent?: number | null;
    /** How many percent of the keys of the current version may have another value */
    max_keys_changed_percent?: number | null;
    /** Keys that must be there with certain fields */
    sample_lookups?: Array<{
      key: string;
      /** Fields of the value, or of one of the objects in it, that must be equal to these */
      fields?: Record<string, unknown>;
    }> | null;
    /** Whether no field of the current version may be gone or null everywhere */
    fields_kept?: boolean | null;
    /** Whether no field may have values of another type than in the current version */
    types_unchanged?: boolean | null;
    /** Whether no field that has many values in the current version may have one value only */
    variety_kept?: boolean | null;
    /** Fields that every object must have */
    required_fields?: Array<string> | null;
    /** By field: in how many percent of all objects it may be null or missing */
    max_null_percent?: Record<string, number | null> | null;
    /** By field: how many different values it must have */
    min_distinct?: Record<string, number | null> | null;
    /** By field: between which numbers its numbers must be */
    ranges?: Record<string, {
      min?: number | null;
      max?: number | null;
    } | null> | null;
    /** How many bytes 99 of 100 values may have */
    max_value_bytes_p99?: number | null;
    /** The name of a check of the server that a version must pass */
    check?: string | null;
  };
  /** How long a version that no longer serves stays readable */
  retire_grace_seconds?: number;
  /** Who answers for it */
  owner?: string | null;
  /** What it is */
  description?: string | null;
  /** What is done about a new version that does worse than the one before */
  watch?: "off" | "tell" | "roll_back";
  /** From when on a new version counts as worse than the one before */
  watch_limits?: {
    /** How long a version is watched after it was activated */
    window_seconds?: number;
    /** With fewer lookups nothing is said */
    min_lookups?: number;
    /** By how many points the hit rate may fall */
    max_hit_rate_drop?: number | null;
    /** How many percent of the lookups may fail */
    max_error_percent?: number | null;
    /** How many times as long as before the slowest hundredth of the lookups may take */
    max_p99_factor?: number | null;
  };
  /** The dataset is stale when its last good push is older */
  expected_push_interval_seconds?: number | null;
};

export type Dataset = {
  dataset: string;
  current: number | null;
  held: boolean;
  hold?: {
    at?: string;
    reason?: string | null;
    actor?: string;
  } | null;
  canary?: {
    version?: number;
    percent?: number;
    experiment?: string;
    started_at?: string;
    actor?: string;
    reason?: string | null;
    /** What was counted since the canary was started, or since this server was */
    arms?: {
      current?: {
        lookups?: number;
        hits?: number;
        misses?: number;
        errors?: number;
        p50_us?: number | null;
        p99_us?: number | null;
      };
      canary?: {
        lookups?: number;
        hits?: number;
        misses?: number;
        errors?: number;
        p50_us?: number | null;
        p99_us?: number | null;
      };
    };
  } | null;
  config: DatasetConfig;
  versions?: number;
  records?: number | null;
  bytes?: number | null;
  activated_at?: string | null;
  as_of?: string | null;
  created_at?: string;
  state?: "damaged" | "rolled_back" | "stale" | "empty" | "held" | "canary" | "healthy";
  /** Versions whose files are damaged on the disk */
  damaged?: Array<number>;
  /** The version that a release would activate, while the dataset is held */
  waiting?: number | null;
  /** The newest push that has ended, if it was rejected or failed and no version became current since */
  failed_push?: {
    version?: number;
    state?: "rejected" | "failed";
    code?: string | null;
    reason?: string | null;
  } | null;
  /** A push is overdue */
  stale?: boolean;
  /** When the newest push succeeded that is kept and not bad */
  last_push_at?: string | null;
  /** How a version does that was activated lately, against the one before */
  watch?: {
    version?: number;
    against?: number;
    since?: string;
    until?: string;
    lookups?: number;
    verdict?: "watching" | "well" | "fell";
    detail?: string;
  } | null;
};

export type Datasets = {
  datasets: Array<Dataset>;
  /** The cursor of the next page */
  next: string | null;
};

export type Deleted = {
  dataset: string;
  deleted: boolean;
};

export type Events = {
  events: Array<{
    seq: number;
    at: string;
    event: string;
    version?: number | null;
    from?: number | null;
    to?: number | null;
    actor?: string;
    request_id?: string;
    reason?: string | null;
    /** Whether a person overrode the gates or a bad mark */
    forced?: boolean;
  }>;
  /** The cursor of the next page */
  next: string | null;
};

export type Moved = {
  dataset: string;
  from: number | null;
  to: number;
  held: boolean;
  marked_bad?: number | null;
  /** True if a rollback went to a version with the same content, so that nothing has changed for readers; left out otherwise */
  same_content?: boolean;
};

export type MovedTogether = {
  /** What came of each dataset, in the order of the request */
  activated: Array<Moved>;
};

export type WebhookTests = {
  receivers: Array<{
    /** Its scheme, host and port */
    receiver: string;
    delivered: boolean;
    status: number | null;
    detail: string | null;
  }>;
};

export type Held = {
  dataset: string;
  held: boolean;
  changed: boolean;
  reason?: string | null;
};

export type Released = {
  dataset: string;
  held: boolean;
  activated: {
    from?: number | null;
    to?: number;
  } | null;
  detail?: string;
  /** Versions that waited too and were of no use */
  passed_over?: Array<{
    version: number;
    reason: string;
  }>;
};

export type Health = {
  status: string;
  /** `open`: there never was a token, and whoever reaches the server may do everything */
  access?: "open" | "tokens";
  /** Other machines are let in without TLS or tokens */
  insecure?: boolean;
  /** Kept versions whose files are damaged on the disk (of /readyz) */
  damaged?: Array<{
    dataset?: string;
    version?: number;
    damage?: Damage;
  }>;
};

export type ServerVersion = {
  name?: string;
  version: string;
  api?: string;
  /** What this server is for, as those who run it named it */
  environment?: string | null;
  hostname?: string | null;
  /** The address it listens on */
  listen?: string;
  started_at?: string;
};

export type KeyHistory = {
  key: string;
  versions: Array<{
    version: number;
    found?: boolean;
    /** The value inline if the dataset's values are JSON, else base64 */
    value?: unknown;
    encoding?: "base64";
    error?: Problem;
  }>;
};

export type Diff = {
  dataset: string;
  from: number;
  to: number;
  added: number;
  removed: number;
  changed: number;
  equal: number;
  /** Changed records in which the field differs, by its name */
  fields: Record<string, number>;
  /** Whether the numbers of fields are exact; else they are estimates */
  fields_exact: boolean;
  samples: {
    added: Array<{
      key: string;
      key_encoding?: "base64url";
      /** Its value in the earlier version, as in a batch */
      from?: unknown;
      /** The length of a value that is too long to be shown */
      from_bytes?: number;
      /** Its value in the later version */
      to?: unknown;
      to_bytes?: number;
      encoding?: "base64";
    }>;
    removed: Array<{
      key: string;
      key_encoding?: "base64url";
      /** Its value in the earlier version, as in a batch */
      from?: unknown;
      /** The length of a value that is too long to be shown */
      from_bytes?: number;
      /** Its value in the later version */
      to?: unknown;
      to_bytes?: number;
      encoding?: "base64";
    }>;
    changed: Array<{
      key: string;
      key_encoding?: "base64url";
      /** Its value in the earlier version, as in a batch */
      from?: unknown;
      /** The length of a value that is too long to be shown */
      from_bytes?: number;
      /** Its value in the later version */
      to?: unknown;
      to_bytes?: number;
      encoding?: "base64";
    }>;
  };
  /** There if whoever asks may not read values */
  samples_withheld?: boolean;
};

export type Profile = {
  version?: number;
  records?: number;
  /** From how many records all below was worked out */
  sampled?: number;
  key_bytes?: {
    min?: number;
    p50?: number;
    p90?: number;
    p99?: number;
    max?: number;
  };
  value_bytes?: {
    min?: number;
    p50?: number;
    p90?: number;
    p99?: number;
    max?: number;
  };
  /** JSON objects among them: values, or members of values that are arrays */
  objects?: number;
  fields?: Record<string, {
    present_percent?: number;
    null_percent?: number;
    types?: Record<string, number>;
    distinct?: number;
    number?: {
      min?: number;
      p1?: number;
      p25?: number;
      p50?: number;
      p75?: number;
      p99?: number;
      max?: number;
      mean?: number;
    } | null;
  }>;
  fields_cut?: boolean;
  samples?: Array<{
    key?: string;
    key_encoding?: string;
    value?: unknown;
    text?: string | null;
    value_bytes?: number;
  }>;
  /** There if whoever asks may not read values */
  samples_withheld?: boolean;
};

export type Series = {
  dataset: string;
  now: {
    /** Mean of the last minute */
    lookups_per_second: number;
    /** Keys that were there, of those looked up without an error; null if nobody asked */
    hit_percent: number | null;
    errors: number;
    p50_us: number | null;
    p99_us: number | null;
  };
  /** When the first of the minutes began */
  start: string;
  /** The first minute this server knows of; entries before it are null */
  since: string;
  interval_seconds: number;
  lookups: Array<number | null>;
  hits: Array<number | null>;
  errors: Array<number | null>;
  /** Null also where nobody asked */
  p99_us: Array<number | null>;
  /** What happened meanwhile, oldest first: swaps, rollbacks, canaries, holds, refusals */
  marks: Array<NonNullable<Events["events"]>[number]>;
};

export type SeriesSummaries = {
  datasets: Array<{
    dataset: string;
    /** Mean of the last minute */
    lookups_per_second: number;
    /** Keys that were there, of those looked up without an error; null if nobody asked */
    hit_percent: number | null;
    errors: number;
    p50_us: number | null;
    p99_us: number | null;
    /** Lookups of each of the last sixty minutes that are over */
    recent: Array<number | null>;
  }>;
  next: string | null;
};

export type Pushes = {
  pushes: Array<Version>;
  next: string | null;
};

export type TokenRequest = {
  /** Who acts with it, as histories say it; several tokens may have one name */
  name: string;
  roles: Array<"reader" | "pusher" | "operator" | "admin" | "monitor">;
  /** Names of datasets, prefixes of names that end in `*`, or `*` */
  datasets?: Array<string>;
  /** `null`: never */
  expires_in_seconds?: number | null;
};

export type Token = {
  id: string;
  /** Who acts with it, as histories say it; several tokens may have one name */
  name: string;
  roles: Array<"reader" | "pusher" | "operator" | "admin" | "monitor">;
  /** Names of datasets, prefixes of names that end in `*`, or `*` */
  datasets: Array<string>;
  state: "active" | "expired" | "revoked";
  created_at: string;
  created_by: string;
  expires_at: string | null;
  revoked_at: string | null;
};

export type MadeToken = Token & {
  /** The text to send as `Authorization: Bearer …` */
  token: string;
};

export type Tokens = {
  tokens: Array<Token>;
  next: string | null;
};

export type EraseRequest = {
  keys: Array<string>;
  key_encoding?: "utf8" | "base64url" | "hex";
  /** null: every dataset, also those made later */
  datasets: Array<string> | null;
  /** Kept for ever; it must not name a key */
  reason: string;
  /** Rewrite the versions that may hold erased keys; not for a lift */
  now?: boolean;
};

export type Erased = {
  erased: number;
  already: number;
  seq: number | null;
  /** null: every dataset, also those made later */
  datasets: Array<string> | null;
  held_by: Array<{
    dataset: string;
    version: number;
    state: string | null;
  }>;
  rewriting: Array<{
    dataset: string;
    version: number;
    state: string | null;
  }>;
  named_in_settings: Array<string>;
};

export type EraseLifted = {
  lifted: number;
  still_erased: number;
  /** null: every dataset, also those made later */
  datasets: Array<string> | null;
};

export type Erasures = {
  erasures: Array<{
    seq: number;
    dataset: string | null;
    keys: number;
    key_hashes?: Array<string>;
    erased_at: string;
    actor?: string;
    request_id?: string;
    reason?: string | null;
    held_by: Array<{
      dataset: string;
      version: number;
      state: string | null;
      in_parts?: boolean;
    }>;
    gone_at: string | null;
  }>;
  rewriting: Array<{
    dataset: string;
    version: number;
    state: string | null;
    phase?: "waiting" | "looking" | "writing" | "verifying";
    done?: number;
    total?: number;
  }>;
  failed: Array<{
    dataset: string;
    version: number;
    state: string | null;
    code?: string;
    detail?: string;
  }>;
  /** The cursor of the next page */
  next: string | null;
};
