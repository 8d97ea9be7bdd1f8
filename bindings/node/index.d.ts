/** colock for Node.js: reader-writer locks between processes, worker threads and containers. */

/** `'shared'`: beside other shared holds. `'exclusive'`: beside none. */
export type Mode = 'shared' | 'exclusive'

export type ErrorCode =
  | 'EBUSY' | 'ETIMEDOUT' | 'EDEADLK' | 'ECANCELED' | 'EINTR' | 'EREVOKED' | 'ELOST' | 'EFORKED' | 'EINVAL' | 'EACCES'
  | 'ENOENT' | 'EFOREIGN' | 'EVERSION' | 'ECORRUPT' | 'ENOLOCKS' | 'ENOSPC' | 'ECONFIG' | 'ESTORE' | 'EMFILE' | 'ENOMEM'
  | 'ESYSTEM'

/** One holder or waiter. What is unknown is left out. */
export interface Entry {
  role: 'holder' | 'waiter' | 'revoked' | 'cached' | 'anonymous'
  mode?: Mode
  /** As its own pid namespace counts. */
  pid?: number
  tid?: number
  uid?: number
  /** For how long it has held, waited, or kept the lock unused. */
  ageMs?: number
  /** Has held for longer than its own `staleTimeout` without renew(). */
  stale?: boolean
  priority?: number
  token?: bigint
  program?: string
  host?: string
  label?: string
  purpose?: string
  /** A waiter's place in line: 1 is the head, -1 is passed over. */
  position?: number
  /** Pid of the child that the hold was passed on to. */
  inherited?: number
  slot?: number
  holdId?: number
  generation?: number
  passed?: boolean
  upgrading?: boolean
  stopped?: boolean
  /** A cached lock that is being let go: a suspend is under way. */
  suspending?: boolean
}

/** A snapshot of a lock file: advice, it may be old by the time that it is read. */
export interface Report {
  /** Holders first, then cached ones, anonymous ones, waiters in their order, the revoked. */
  entries: Entry[]
  holders: number
  cached: number
  waiters: number
  revoked: number
  anonymous: number
  generation: number
  lastToken: bigint
  /** Token of the writer that died holding; 0n: none. */
  abandoned: bigint
  capacity: number
  slotsInUse: number
  forcedPid?: number
  forcedUid?: number
  forcedAgeMs?: number
}

/** What colock refuses. `message` is a whole sentence with file, reason, and what to do. */
export class ColockError extends Error {
  constructor(code: string, message: string, details?: { errno?: number, holder?: Entry })
  name: 'ColockError'
  /** As in colock(3), without COLOCK_. New ones may be added. */
  code: ErrorCode | (string & {})
  /** Of the system call that failed, if one did. */
  errno?: number
  /** With EBUSY, ETIMEDOUT, EDEADLK: who is in the way, as far as it could be seen. */
  holder?: Entry
}

/** Milliseconds, or a text as in colock.yaml(5): `'1.5s'`, `'2min'`, `'forever'`. */
export type Duration = number | string

/** The keys of colock.yaml(5). What is left out comes from the environment, the configuration file, the defaults. */
export interface Settings {
  enabled?: boolean
  timeout?: Duration
  retryDelay?: Duration
  staleTimeout?: Duration
  staleAction?: 'report' | 'break'
  autoRelease?: boolean
  idleTimeout?: Duration
  notifyAfter?: Duration
  verbosity?: 'quiet' | 'error' | 'warning' | 'info' | 'debug'
  label?: string
  fileMode?: number | string
  carrier?: 'auto' | 'mapped'
  seats?: number
}

export interface OpenOptions extends Settings {
  /**
   * Called when the lock is about to leave this process: flush or close what it guards; nobody here uses it until the
   * promise settles. Rejected: the lock leaves as if its holder had died. Turns `autoRelease` on. It must not acquire,
   * release or close the same lock. Until it has settled, the process does not end by itself.
   */
  suspend?: () => void | Promise<void>
}

export interface WaitOptions {
  /** Milliseconds, or `'forever'`; 0: try once. Left out: as the lock was opened. */
  timeout?: number | 'forever'
}

export interface AcquireOptions extends WaitOptions {
  /** Ends the wait; the promise is rejected with its reason. */
  signal?: AbortSignal
  /** -100 to 100. One unit is worth up to 64 places in line. */
  priority?: number
  /** Shown by `colock status`. */
  purpose?: string
  /** Called after `notifyAfter` and then at doubling intervals. What it throws ends the wait. */
  onWait?: (who: Entry[], waitedMs: number) => void
}

/** One granted lock. Release it, by release(), `using`, or Lock.with(). */
export class Hold {
  private constructor()
  readonly lock: Lock
  readonly mode: Mode
  readonly released: boolean
  /** The fencing token of an exclusive hold: larger than every one before it. 0n: shared. */
  readonly token: bigint
  /** The newest token handed out before this hold. */
  readonly lastToken: bigint
  /** Somebody waits whom this hold keeps waiting. Cheap. */
  readonly contended: boolean
  /** An exclusive holder has died holding, and nobody has said recovered() since. */
  readonly abandoned: boolean
  /** Which hold this is, as COLOCK_HOLD names it. */
  readonly id: string
  /** Never waits. Throws EREVOKED or ELOST if the lock was not whole to the end. The second time does nothing. */
  release(): void
  /** Is it still ours? Throws EREVOKED, ELOST. */
  check(): void
  /** Alive and at work: the time until it counts as stale begins anew. Throws EREVOKED. */
  renew(): void
  /** The data are whole again; exclusive holds only. */
  recovered(): void
  /** Exclusive to shared, in place, without a gap. Never waits. */
  downgrade(): void
  /** Shared to exclusive, in place. Rejected with EDEADLK if another shared hold is upgrading: release it then. */
  upgrade(options?: WaitOptions): Promise<void>
  /** Let those go first who wait, then hold again. After a failure nothing is held; release() is still to be called. */
  yield(options?: WaitOptions): Promise<void>
  /** Once somebody waits for it, it was forced out, its file was replaced, or it was released. */
  whenContended(): Promise<'contended' | 'revoked' | 'lost' | 'released'>
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

/** An opened lock file. */
export class Lock {
  private constructor()
  readonly path: string | Buffer
  readonly closed: boolean
  /** Wait in line for the lock; `mode` is exclusive if left out. */
  acquire(mode?: Mode, options?: AcquireOptions): Promise<Hold>
  /** null: not free. */
  tryAcquire(mode?: Mode, options?: Omit<AcquireOptions, 'timeout' | 'onWait'>): Promise<Hold | null>
  /** Acquire, await the operation, release. */
  with<T>(mode: Mode, operation: (hold: Hold) => T | Promise<T>): Promise<T>
  with<T>(mode: Mode, options: AcquireOptions | undefined, operation: (hold: Hold) => T | Promise<T>): Promise<T>
  /** Every wait ends with ECANCELED, and every acquire that would have to wait, until cancel(false). */
  cancel(on?: boolean): void
  /** With `autoRelease`: let go now what is kept and not in use. */
  releaseIdle(): Promise<void>
  status(): Promise<Report>
  /** Calls off what waits; rejected with EBUSY while holds are in use. What is kept is let go, suspend first. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Open a lock file; it is created if it is absent. */
export function open(file: string | Buffer | URL, options?: OpenOptions): Promise<Lock>
/** The same for the lock file that belongs to a file or directory: its name with `.lock` behind it. */
export function openFor(target: string | Buffer | URL, options?: OpenOptions): Promise<Lock>
/** Who holds the lock file, who waits. Takes nothing, creates nothing. */
export function status(file: string | Buffer | URL): Promise<Report>
/** Take the lock away from whoever holds it; the old holders run on and may still write. The report of before. */
export function forceUnlock(file: string | Buffer | URL, reason?: string): Promise<Report | undefined>
/** What the library has to say, as far as `verbosity` allows; null: nothing. One for the process: the last one set. */
export function setLog(log: ((level: 'error' | 'warning' | 'info' | 'debug', line: string) => void) | null): void
/** Of the library. */
export const version: string
