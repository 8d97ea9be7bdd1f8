/** One PGlite database on disk, shared by several processes: each opens it on demand and closes it when others wait. */

import type {
  Extensions, PGlite, PGliteInterfaceExtensions, PGliteOptions, QueryOptions, Results, Transaction,
} from '@electric-sql/pglite'
import type { Lock, Settings } from './index.js'

export interface SharedOptions<E extends Extensions = {}> extends Omit<Settings, 'timeout' | 'autoRelease'> {
  /** What PGlite is created with, at each opening. `loadDataDir` counts only for a new database. */
  pglite?: Omit<PGliteOptions<E>, 'dataDir' | 'fs'>
  /** The class; left out: that of `@electric-sql/pglite`. */
  PGlite?: { create(options: PGliteOptions): Promise<PGlite> }
  /** After each opening, before any operation: SET, LISTEN, migrations. It has to use its argument. */
  onOpen?: (database: PGlite & PGliteInterfaceExtensions<E>) => void | Promise<void>
  /** How long an operation waits for the database, in milliseconds; 30,000 if left out. */
  timeout?: number | 'forever'
  /**
   * Milliseconds for which it may be kept after it was opened though others wait, while operations follow closely. Left
   * out: as long as opening took, but 500 at least and 5,000 at most.
   */
  tenure?: number
  /** Shown by `colock status`. */
  purpose?: string
  /** -100 to 100: before whom in line. */
  priority?: number
}

export interface OperationOptions {
  /** Ends the wait for the database; an operation that has begun goes on. */
  signal?: AbortSignal
}

export interface SharedStats {
  operations: number
  /** How often PGlite was opened, and closed for others, here. */
  opened: number
  closed: number
  /** How often a writer had died holding, or could not close. */
  recovered: number
  /** How often an open database was abandoned, unwritten, because the lock had been forced from us. */
  dropped: number
}

export class SharedPGlite<E extends Extensions = {}> {
  private constructor()
  readonly dataDir: string
  readonly lock: Lock
  readonly closed: boolean
  /** Open here, now. */
  readonly isOpen: boolean
  readonly stats: SharedStats
  query<T>(query: string, parameters?: any[], options?: QueryOptions & OperationOptions): Promise<Results<T>>
  exec(query: string, options?: QueryOptions & OperationOptions): Promise<Results[]>
  sql<T>(strings: TemplateStringsArray, ...parameters: any[]): Promise<Results<T>>
  /** Inside, use `tx`: other operations of the same shared database are refused with EDEADLK. */
  transaction<T>(operation: (tx: Transaction) => Promise<T>, options?: OperationOptions): Promise<T>
  /** The open database itself, until the promise settles; it must not be used after that. */
  run<T>(operation: (database: PGlite & PGliteInterfaceExtensions<E>) => T | Promise<T>,
    options?: OperationOptions): Promise<T>
  /** Close the database and let go now, if no operation runs. */
  release(): Promise<void>
  /** After the operations under way; new ones are refused. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** `dataDir`: a directory, which need not exist. The lock file is beside it: its name with `.lock` behind it. */
export function openShared<E extends Extensions = {}>(dataDir: string | URL, options?: SharedOptions<E>):
  Promise<SharedPGlite<E>>
