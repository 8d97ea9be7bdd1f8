// pglite.js - one PGlite database on disk, shared by several processes.
//
// PGlite has a whole PostgreSQL in its own memory: a process that keeps it open while another writes never sees those
// rows, and overwrites them with its next write. So the lock covers the open database, not the single statement: who
// has the lock may have PGlite open, and closes it before the lock leaves the process (suspend). Opening takes some
// 0.3 s, hence three layers that make it rare:
//  - the lock is kept, with the database open, until somebody else waits for it (auto_release);
//  - operations that overlap, or follow each other before the event loop turns, run under one hold, called a turn here;
//  - a turn that others wait for goes on for a while, its tenure, as long as operations follow closely: by default for
//    as long as opening took, so that under any load half of the time is work.

import { AsyncLocalStorage } from 'node:async_hooks'
import fs from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { ColockError, openFor } from './index.js'

const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')
const TENURE_MS = { least: 500, most: 5000 }
const PAUSE_MS = 20 // who has not come back by then has finished: it is not waited for within the tenure
const SECRET = Symbol('colock/pglite')
const touch = Symbol.for('colock touch')
const whole = Symbol.for('colock whole')

// What runs inside run() or transaction(): an operation begun there may not wait for them to end.
const inside = new AsyncLocalStorage()

// ---- the directory ----

async function exists(file) {
  try {
    await fs.access(file)
    return true
  } catch {
    return false
  }
}

// The same for every way to write it: two names would be two locks.
async function directoryOf(dataDir) {
  let name = dataDir instanceof URL ? fileURLToPath(dataDir) : dataDir
  if (typeof name === 'string' && name.startsWith('file://')) name = name.slice('file://'.length)
  if (typeof name !== 'string' || name === '' || /^[a-z-]+:\/\//.test(name)) {
    throw new ColockError('EINVAL', `${dataDir} is no directory that processes could share`)
  }
  name = path.resolve(name)
  if (await exists(name)) return fs.realpath(name)
  return path.join(await fs.realpath(path.dirname(name)), path.basename(name))
}

// A new database is made beside its place and moved there: who is killed meanwhile leaves no half of one behind.
async function create(PGlite, directory, options) {
  const fresh = `${directory}.new`
  await fs.rm(fresh, { recursive: true, force: true })
  const database = await PGlite.create({ ...options, dataDir: fresh })
  await database.close()
  await fs.rename(fresh, directory)
}

async function isEmpty(directory) {
  try {
    return (await fs.readdir(directory)).length === 0
  } catch (thrown) {
    if (thrown.code === 'ENOENT') return true
    throw thrown
  }
}

async function pgliteClass() {
  try {
    return (await import('@electric-sql/pglite')).PGlite
  } catch (thrown) {
    throw new ColockError('ENOENT', `colock/pglite needs PGlite (npm install @electric-sql/pglite): ${thrown.message}`)
  }
}

// ---- waiting ----

function unless(signal, promise) {
  if (!signal) return promise
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

// One hold and the operations under it.
class Turn {
  hold = undefined // once it is had
  users = 1 // operations, and at first its own opening
  opening = true
  draining = false // nobody may join any more
  contended = false // others waited when its newest operation began
  over = false
  timer = undefined // runs while nobody uses it and it is kept all the same
  pausing = false // the event loop is to turn before it ends
  ready = undefined // promise of the open database
  abort = undefined // calls the acquire off; only where somebody might
  ended = undefined // promise
  end = undefined // settles it

  constructor() {
    this.ended = new Promise(resolve => { this.end = resolve })
  }
}

export class SharedPGlite {
  #directory
  #lock
  #PGlite
  #options // of PGlite
  #request // how to acquire
  #tenure
  #onOpen
  #database
  #token = 0n // of the last hold under which #database was open
  #keepUntil = 0 // end of the tenure
  #turn // the newest; undefined: none
  #scopes = 0 // of run() and transaction(), under way
  #closing
  #counts = { operations: 0, opened: 0, closed: 0, recovered: 0, dropped: 0 }

  constructor(key, directory, { PGlite, pglite, request, tenure, onOpen }) {
    if (key !== SECRET) throw new ColockError('EINVAL', 'shared databases come from openShared()')
    this.#directory = directory
    this.#PGlite = PGlite
    this.#options = pglite
    this.#request = request
    this.#tenure = tenure
    this.#onOpen = onOpen
  }

  static async open(key, directory, given, settings) {
    const shared = new SharedPGlite(key, directory, given)
    shared.#lock = await openFor(directory, { ...settings, suspend: () => shared.#suspend() })
    return shared
  }

  get dataDir() { return this.#directory }
  get lock() { return this.#lock }
  get closed() { return this.#closing !== undefined }
  get isOpen() { return this.#database !== undefined }
  get stats() { return { ...this.#counts } }

  query(text, parameters, options) {
    return this.#operate(database => database.query(text, parameters, options), options)
  }

  exec(text, options) { return this.#operate(database => database.exec(text, options), options) }

  sql(strings, ...parameters) { return this.#operate(database => database.sql(strings, ...parameters)) }

  transaction(operation, options) {
    return this.#operate((database, turn) =>
      database.transaction(tx => this.#enter(turn, true, () => operation(tx))), options)
  }

  run(operation, options) {
    return this.#operate((database, turn) => this.#enter(turn, false, () => operation(database)), options)
  }

  async release() {
    this.#mustBeOpen()
    if (this.#turn?.users === 0) this.#finish(this.#turn)
    await this.#lock.releaseIdle()
  }

  close() {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [asyncDispose]() { await this.close() }

  async #close() {
    await undefined // #closing is set: nobody begins any more
    while (this.#turn) {
      const turn = this.#turn
      if (turn.users === 0) this.#finish(turn)
      await turn.ended
    }
    await this.#lock.close()
  }

  #mustBeOpen() {
    if (this.#closing) throw new ColockError('EINVAL', `${this.#directory}: the shared database is closed`)
  }

  // ---- an operation ----

  async #operate(operation, options) {
    for (;;) {
      const turn = this.#join(options?.signal)
      try {
        if (turn.opening) await unless(options?.signal, turn.ready)
        if (!this.#touch(turn)) continue
        this.#counts.operations++
        try {
          return await operation(this.#database, turn)
        } finally {
          this.#check(turn)
        }
      } finally {
        this.#leave(turn)
      }
    }
  }

  // False: the lock was forced from us before the operation began, so it waits for the next turn.
  #touch(turn) {
    try {
      turn.contended = turn.hold[touch]()
      return true
    } catch (thrown) {
      turn.draining = true
      this.#drop()
      if (inside.getStore()?.turn === turn) throw thrown // it is part of what has been lost
      return false
    }
  }

  // What was done counts only if the lock was ours until it was done. The database is not to be touched otherwise.
  #check(turn) {
    try {
      turn.hold[whole]()
    } catch (thrown) {
      turn.draining = true
      this.#drop()
      throw thrown
    }
  }

  async #enter(turn, transaction, operation) {
    const scope = { shared: this, turn, transaction, over: false }
    this.#scopes++
    try {
      return await inside.run(scope, operation)
    } finally {
      this.#scopes--
      scope.over = true // what it left behind, a timer say, is not inside any more
    }
  }

  // ---- turns ----

  #join(signal) {
    const outer = this.#scopes ? inside.getStore() : undefined
    if (outer?.shared === this && !outer.over) return this.#joinOuter(outer)
    this.#mustBeOpen()
    signal?.throwIfAborted()
    const turn = this.#turn
    if (turn?.contended && performance.now() >= this.#keepUntil) {
      turn.draining = true
      if (turn.users === 0) this.#finish(turn)
    }
    if (!turn || turn.draining) return this.#begin(turn, signal)
    clearTimeout(turn.timer)
    turn.timer = undefined
    turn.users++
    return turn
  }

  // Others wait or not: what it is called from would wait for it, and it for the next turn.
  #joinOuter(outer) {
    if (outer.transaction) {
      throw new ColockError('EDEADLK', `${this.#directory}: inside transaction(), use what its function was given: ` +
        'any other operation waits for the transaction to end')
    }
    outer.turn.users++
    return outer.turn
  }

  #begin(previous, signal) {
    const turn = new Turn()
    this.#turn = turn
    turn.users++
    let request = this.#request
    if (signal) {
      const controller = new AbortController()
      turn.abort = () => controller.abort()
      request = { ...request, signal: controller.signal }
    }
    turn.ready = this.#open(turn, previous, request)
    turn.ready.catch(() => {}) // they all wait for it themselves
    return turn
  }

  async #open(turn, previous, request) {
    try {
      if (previous) await previous.ended
      const hold = turn.hold = await this.#lock.acquire('exclusive', request)
      // Somebody had the lock and no suspend came before: it was forced from us, or its file replaced.
      if (this.#database && hold.lastToken !== this.#token) this.#drop()
      this.#database ??= await this.#openDatabase()
      if (hold.abandoned) { // opening has replayed what the dead writer had committed
        hold.recovered()
        this.#counts.recovered++
      }
      this.#token = hold.token
      return this.#database
    } catch (thrown) {
      turn.draining = true
      throw thrown
    } finally {
      turn.opening = false
      this.#leave(turn)
    }
  }

  #leave(turn) {
    turn.users--
    if (turn.users === 1 && turn.opening && !turn.hold) turn.abort?.() // nobody wants it any more
    if (turn.users > 0) return
    if (!turn.hold || turn.draining || this.#closing) {
      this.#finish(turn)
    } else if (!turn.pausing) { // who goes on at once goes on under this hold: that is faster
      turn.pausing = true
      setImmediate(() => this.#pause(turn))
    }
  }

  #pause(turn) {
    turn.pausing = false
    if (turn.users > 0) return
    const left = this.#keepUntil - performance.now()
    if (left > 0 && !turn.over && turn.hold.contended) {
      clearTimeout(turn.timer)
      turn.timer = setTimeout(() => this.#finish(turn), Math.min(left, PAUSE_MS))
    } else {
      this.#finish(turn)
    }
  }

  #finish(turn) {
    if (turn.over) return
    turn.over = turn.draining = true
    clearTimeout(turn.timer)
    if (this.#turn === turn) this.#turn = undefined
    try {
      turn.hold?.release()
    } catch { // forced from us after the last operation was looked at: what it did had been done before
      this.#drop()
    }
    turn.end()
  }

  // ---- the database ----

  async #openDatabase() {
    this.#PGlite ??= await pgliteClass()
    let there = await exists(path.join(this.#directory, 'PG_VERSION'))
    if (!there && await isEmpty(this.#directory)) {
      await create(this.#PGlite, this.#directory, this.#options)
      there = true
    }
    const begun = performance.now()
    const { loadDataDir, ...always } = this.#options // a tarball is for a new database
    const options = there ? always : this.#options
    const database = await this.#PGlite.create({ ...options, dataDir: this.#directory })
    this.#counts.opened++
    try {
      await this.#onOpen?.(database)
    } catch (thrown) {
      await database.close()
      throw thrown
    }
    const now = performance.now()
    const tenure = this.#tenure ?? Math.min(Math.max(now - begun, TENURE_MS.least), TENURE_MS.most)
    this.#keepUntil = now + tenure
    return database
  }

  // The library's call, before the lock leaves this process. No operation runs.
  async #suspend() {
    const database = this.#database
    this.#database = undefined
    if (!database) return
    await database.close()
    this.#counts.closed++
  }

  // The lock is not ours any more: what is in memory must not be written, neither by operations that wait for their
  // turn in PGlite, nor by close(), which writes a checkpoint.
  #drop() {
    const database = this.#database
    this.#database = undefined
    if (!database) return
    this.#counts.dropped++
    database.execProtocolRawSync = () => {
      throw new ColockError('EREVOKED', `${this.#directory}: the lock was forced from us, so the database was dropped`)
    }
    database.fs.closeFs().catch(() => {})
  }
}

export async function openShared(dataDir, options = {}) {
  const { PGlite, pglite = {}, onOpen, tenure, purpose, timeout = 30_000, priority, ...settings } = options
  if (pglite.fs !== undefined) throw new ColockError('EINVAL', 'a file system of its own cannot be shared by processes')
  if (tenure !== undefined && !(typeof tenure === 'number' && tenure >= 0)) {
    throw new ColockError('EINVAL', 'tenure is a number of milliseconds')
  }
  const given = { PGlite, pglite, onOpen, tenure, request: { purpose, timeout, priority } }
  return SharedPGlite.open(SECRET, await directoryOf(dataDir), given, { idleTimeout: 10_000, ...settings })
}
