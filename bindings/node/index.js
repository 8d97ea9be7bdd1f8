// index.js - colock for Node.js: locks, holds, errors. native/ does the work; here arguments are checked, and promises
// made.
//
// Everything that may wait is a promise. release() is not: it never waits, so that `using` and `finally` can call it.

import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const native = createRequire(import.meta.url)('./build/colock.node')

const MODES = { __proto__: null, shared: 1, exclusive: 2 }
const FOREVER = -1
const CONFIGURED = -2
const FIRST_ID = 2 ** 20 // of holds, and made negative of waits; above are codes, made negative
const SECRET = Symbol('colock') // who has it may construct
const touch = Symbol.for('colock touch') // pglite.js has them too; not for users
const whole = Symbol.for('colock whole')
const LEVELS = ['', 'error', 'warning', 'info', 'debug']
const dispose = Symbol.dispose ?? Symbol.for('nodejs.dispose')
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')

// ---- errors ----

export class ColockError extends Error {
  constructor(code, message, { errno = 0, holder } = {}) {
    super(message)
    this.name = 'ColockError'
    this.code = code
    if (errno) this.errno = errno
    if (holder) this.holder = holder
  }
}

const IN_THE_WAY = new Set(['EBUSY', 'ETIMEDOUT', 'EDEADLK'])
const ROLES = ['holder', 'cached', 'anonymous', 'waiter']

// Who is in the way, at this moment: it may have gone meanwhile.
function holderOf(file) {
  const entries = native.look(file)?.entries ?? []
  for (const role of ROLES) {
    const entry = entries.find(candidate => candidate.role === role)
    if (entry) return entry
  }
  return undefined
}

function errorOf(code, message, errno, file) {
  const name = native.codes[code] ?? `E${code}`
  const holder = file !== undefined && IN_THE_WAY.has(name) ? holderOf(file) : undefined
  return new ColockError(name, message || `colock failed with code ${code}`, { errno, holder })
}

// Of the native call before it, which returned -code.
function lastError(code, file) {
  const [message, errno] = native.last()
  return errorOf(code, message, errno, file)
}

const invalid = message => new ColockError('EINVAL', message)

async function settled(job, file) {
  const [code, value, errno] = await job
  if (code) throw errorOf(code, value, errno, file)
  return value
}

// ---- arguments ----

function pathOf(file) {
  if (file instanceof URL) return fileURLToPath(file)
  if (typeof file === 'string') {
    if (file === '' || file.includes('\0')) throw invalid('the path is empty, or has a NUL in it')
    return path.resolve(file)
  }
  if (Buffer.isBuffer(file) && file.length && !file.includes(0)) return file
  throw invalid('a path is a string, a Buffer or a file URL')
}

function modeOf(mode) {
  const is = MODES[mode]
  if (is === undefined) throw invalid(`mode ${String(mode)} is neither 'shared' nor 'exclusive'`)
  return is
}

function timeoutOf(timeout) {
  if (timeout === undefined || timeout === null) return CONFIGURED
  if (timeout === 'forever' || timeout === Infinity) return FOREVER
  if (typeof timeout === 'number' && timeout >= 0) return Math.min(Math.ceil(timeout), Number.MAX_SAFE_INTEGER)
  throw invalid("a timeout is a number of milliseconds, or 'forever'")
}

function functionOf(callback, what) {
  if (callback !== undefined && typeof callback !== 'function') throw invalid(`${what} is no function`)
  return callback
}

// {idleTimeout: 500} -> ['idle_timeout', '500ms']: the keys of colock.yaml(5), in camel case or as they are there.
function settingsOf(settings) {
  const list = []
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined) continue
    const key = name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
    const type = native.keys[key]
    let text = String(value)
    if (type === 'duration' && value === Infinity) text = 'forever'
    else if (type === 'duration' && typeof value === 'number') text = value === 0 ? '0' : `${Math.ceil(value * 1000)}us`
    else if (type === 'mode' && typeof value === 'number') text = `0${value.toString(8)}`
    list.push(key, text)
  }
  return list
}

// ---- what comes from other threads ----

const waits = new Map() // of a wait's number: what is to be done when it has ended
const watches = new Map() // of a hold's number: the same, when somebody waits for it
const suspends = new Map() // of a lock's number
let onLog

function stepped(id, wait) {
  let got
  try {
    got = native.step(id, wait.onWait)
  } catch (thrown) { // by onWait
    wait.end(undefined, thrown)
    return
  }
  if (got > 0) wait.end(got)
  else if (got < 0) wait.end(undefined, lastError(-got, wait.file))
}

async function suspend(id) {
  let well = true
  try {
    await suspends.get(id)()
  } catch (thrown) {
    well = false
    process.emitWarning(thrown instanceof Error ? thrown : String(thrown), { type: 'ColockWarning' })
  }
  native.suspended(id, well)
}

native.begin((kind, id, detail) => {
  if (kind === 0) {
    const wait = waits.get(id)
    if (wait) stepped(id, wait)
  } else if (kind === 1) {
    watches.get(id)?.()
  } else if (kind === 2) {
    suspend(id)
  } else {
    onLog?.(LEVELS[id], detail)
  }
}, !isMainThread)

// ---- a hold ----

// Holds that nobody has any more were forgotten, not released: somebody would wait for ever. A registry costs more than
// the whole of a kept lock, so only holds that grow old get into it.
const forgottenHolds = new FinalizationRegistry(id => {
  native.release(id)
  process.emitWarning('a hold was forgotten instead of released: use `using`, lock.with() or hold.release()',
    { type: 'ColockWarning' })
})
const YOUNG_MS = 500
const young = [] // by row of the native table
let growingUp
let watchOver // of a hold: from now on the registry has it

function growUp() {
  growingUp = undefined
  for (const hold of young.splice(0)) if (hold !== undefined) watchOver(hold)
}

class Hold {
  #id
  #lock
  #mode
  #busy = false

  static { watchOver = hold => forgottenHolds.register(hold, hold.#id, hold) }

  constructor(key, id, lock, mode) {
    if (key !== SECRET) throw invalid('holds come from lock.acquire()')
    this.#id = id
    this.#lock = lock
    this.#mode = mode
    young[id % FIRST_ID] = this
    growingUp ??= setTimeout(growUp, YOUNG_MS).unref()
  }

  // Its number, if it can be used.
  #held() {
    if (this.#id === 0) throw invalid('the hold has been released')
    if (this.#busy) throw invalid('the hold is being changed: await its upgrade() or yield() first')
    return this.#id
  }

  #code(answer) {
    if (answer < 0) throw lastError(-answer, this.#lock.path)
  }

  get lock() { return this.#lock }
  get mode() { return this.#mode === 2 ? 'exclusive' : 'shared' }
  get released() { return this.#id === 0 }
  get token() { return native.token(this.#held()) }
  get lastToken() { return native.lastToken(this.#held()) }
  get contended() { return (native.state(this.#held()) & 1) !== 0 }
  get abandoned() { return (native.state(this.#held()) & 2) !== 0 }
  get id() { return native.holdId(this.#held()) }

  release() {
    if (this.#id === 0) return
    const id = this.#held()
    this.#id = 0
    if (young[id % FIRST_ID] === this) young[id % FIRST_ID] = undefined
    else forgottenHolds.unregister(this)
    const answer = native.release(id)
    watches.get(id)?.('released')
    this.#code(answer)
  }

  check() { this.#code(native.check(this.#held())) }
  renew() { this.#code(native.renew(this.#held())) }
  // For pglite.js, before and after every operation: renew(), and is it contended, in one call; check(), but the file
  // itself is looked at once a ms.
  [touch]() {
    const answer = native.touch(this.#held())
    if (answer < 0) throw lastError(-answer, this.#lock.path)
    return answer === 1
  }

  [whole]() { this.#code(native.whole(this.#held())) }

  recovered() { this.#code(native.recovered(this.#held())) }

  downgrade() {
    this.#code(native.downgrade(this.#held()))
    this.#mode = 1
  }

  async upgrade({ timeout } = {}) {
    await this.#change(native.upgrade, timeoutOf(timeout))
    this.#mode = 2
  }

  async yield({ timeout } = {}) {
    await this.#change(native.yield, timeoutOf(timeout))
  }

  async #change(verb, timeout) {
    const job = verb(this.#held(), timeout)
    this.#busy = true
    try {
      await settled(job, this.#lock.path)
    } finally {
      this.#busy = false
    }
  }

  whenContended() {
    const id = this.#held()
    const before = watches.get(id)
    if (before) return before.promise
    this.#code(native.watch(id))
    let settle
    const promise = new Promise(resolve => { settle = resolve })
    native.keep(1)
    const told = why => {
      watches.delete(id)
      native.keep(-1)
      settle(why ?? this.#why(id))
    }
    told.promise = promise
    watches.set(id, told)
    return promise
  }

  #why(id) {
    if (this.#busy) return 'contended'
    const answer = native.check(id)
    return answer === 0 ? 'contended' : native.codes[-answer] === 'EREVOKED' ? 'revoked' : 'lost'
  }

  [dispose]() { this.release() }
  async [asyncDispose]() { this.release() }
}

// ---- a lock ----

const forgottenLocks = new FinalizationRegistry(async id => {
  await native.close(id)
  suspends.delete(id)
})

class Lock {
  #id
  #path
  #closing
  #waits = new Set() // of functions that call them off
  #jobs = new Set() // what close() has to wait for

  constructor(key, id, file) {
    if (key !== SECRET) throw invalid('locks come from open()')
    this.#id = id
    this.#path = file
    forgottenLocks.register(this, id, this)
  }

  get path() { return this.#path }
  get closed() { return this.#closing !== undefined }

  async acquire(mode = 'exclusive', options) {
    const is = modeOf(mode)
    if (this.#closing) throw invalid('the lock is closed')
    const got = options === undefined ? native.acquire(this.#id, is) : this.#begin(is, options)
    if (got > 0) return new Hold(SECRET, got, this, is)
    if (got > -FIRST_ID) throw lastError(-got, this.#path)
    try {
      return await this.#wait(-got, is, options)
    } catch (thrown) {
      if (thrown instanceof ColockError) Error.captureStackTrace(thrown) // of who waited, not of who brought the news
      throw thrown
    }
  }

  #begin(mode, { timeout, signal, priority = 0, purpose, onWait }) {
    signal?.throwIfAborted()
    if (!Number.isInteger(priority)) throw invalid('a priority is an integer')
    if (purpose !== undefined && typeof purpose !== 'string') throw invalid('a purpose is a string')
    return native.acquire(this.#id, mode, timeoutOf(timeout), priority, purpose, functionOf(onWait, 'onWait'))
  }

  #wait(id, mode, options) {
    const signal = options?.signal
    return new Promise((resolve, reject) => {
      const abort = () => {
        native.leave(id)
        wait.end(undefined, signal.reason)
      }
      const cancel = () => {
        native.leave(id)
        wait.end(undefined, new ColockError('ECANCELED', `${this.#path}: the lock was closed while it was waited for`))
      }
      const wait = {
        file: this.#path,
        onWait: options?.onWait,
        end: (hold, thrown) => {
          if (!waits.delete(id)) return
          this.#waits.delete(cancel)
          signal?.removeEventListener('abort', abort)
          if (hold) resolve(new Hold(SECRET, hold, this, mode))
          else reject(thrown)
        },
      }
      waits.set(id, wait)
      this.#waits.add(cancel)
      signal?.addEventListener('abort', abort)
    })
  }

  async tryAcquire(mode = 'exclusive', options) {
    try {
      return await this.acquire(mode, { ...options, timeout: 0 })
    } catch (thrown) {
      if (thrown instanceof ColockError && thrown.code === 'EBUSY') return null
      throw thrown
    }
  }

  async with(mode, options, operation) {
    if (typeof options === 'function') [options, operation] = [undefined, options]
    if (typeof operation !== 'function') throw invalid('with() needs a function')
    const hold = await this.acquire(mode, options)
    let result
    try {
      result = await operation(hold)
    } catch (thrown) {
      try { hold.release() } catch { /* what the operation says comes first */ }
      throw thrown
    }
    hold.release()
    return result
  }

  cancel(on = true) {
    if (this.#closing) throw invalid('the lock is closed')
    native.cancel(this.#id, Boolean(on))
  }

  async releaseIdle() {
    if (this.#closing) throw invalid('the lock is closed')
    const job = settled(native.releaseIdle(this.#id))
    this.#jobs.add(job)
    try {
      await job
    } finally {
      this.#jobs.delete(job)
    }
  }

  status() { return status(this.#path) }

  async close() {
    if (this.#closing) return this.#closing
    for (const cancel of this.#waits) cancel()
    const uses = native.uses(this.#id)
    if (uses) throw new ColockError('EBUSY', `${this.#path}: ${uses} holds are in use; release them before close()`)
    this.#closing = this.#close()
    return this.#closing
  }

  async #close() {
    forgottenLocks.unregister(this)
    await Promise.allSettled(this.#jobs)
    await settled(native.close(this.#id))
    suspends.delete(this.#id)
  }

  async [asyncDispose]() { await this.close() }
}

async function opened(file, target, { suspend: handler, ...settings }) {
  const name = pathOf(file)
  functionOf(handler, 'suspend')
  const list = settingsOf(settings)
  if (handler) list.push('auto_release', 'true') // else release() would wait for it, in the thread that it needs
  const id = await settled(native.open(name, target, list, handler !== undefined))
  if (handler) suspends.set(id, handler)
  const lock = target ? (Buffer.isBuffer(name) ? Buffer.concat([name, Buffer.from('.lock')]) : `${name}.lock`) : name
  return new Lock(SECRET, id, lock)
}

export const open = async (file, options = {}) => opened(file, false, options)
export const openFor = async (target, options = {}) => opened(target, true, options)

// ---- looking from outside ----

export async function status(file) { return settled(native.status(pathOf(file))) }

export async function forceUnlock(file, reason) {
  if (reason !== undefined && typeof reason !== 'string') throw invalid('a reason is a string')
  return settled(native.force(pathOf(file), reason))
}

export function setLog(log) {
  onLog = functionOf(log ?? undefined, 'log')
  native.log(onLog !== undefined)
}

const v = native.version
export const version = `${Math.floor(v / 10000)}.${Math.floor(v / 100) % 100}.${v % 100}`

export { Hold, Lock }
