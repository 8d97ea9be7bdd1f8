// agent.mjs - another process for the tests, which does what its parent tells it: {id, name, values} is answered with
// {id, value or error}.

import { PGlite } from '@electric-sql/pglite'

import { open } from '../index.js'
import { openShared } from '../pglite.js'

let lock
let hold
let shared
let mayClose
let naive

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

const methods = {
  async open(file, options = {}) { lock = await open(file, options) },
  async acquire(mode, options) {
    hold = await lock.acquire(mode, options)
    return { token: hold.token, lastToken: hold.lastToken, abandoned: hold.abandoned }
  },
  release() { hold.release() },
  recovered() { hold.recovered() },
  async close() { await lock.close() },
  exit() { setImmediate(() => process.exit(0)) },

  async openShared(dataDir, options, tarball) {
    const pglite = tarball && { loadDataDir: new Blob([tarball]) }
    shared = await openShared(dataDir, { pglite, ...options })
  },
  // One that closes only when it is told to.
  async openSlow(dataDir, options) {
    class Slow extends PGlite {
      static async create(given) {
        const database = new Slow(given)
        await database.waitReady
        return database
      }

      async close() {
        process.send({ closing: true })
        await new Promise(resolve => { mayClose = resolve })
        return super.close()
      }
    }
    shared = await openShared(dataDir, { ...options, PGlite: Slow })
  },
  mayClose() { mayClose() },
  exec(text) { return shared.exec(text) },
  async rows(text, parameters) { return (await shared.query(text, parameters)).rows },
  async insert(who, from, to, longest) {
    for (let n = from; n < to; n++) {
      await shared.query('insert into rows (who, n) values ($1, $2)', [who, n])
      process.send({ who, n })
      if (longest) await pause(Math.random() * longest)
    }
  },
  // A transaction that never ends: to be killed in.
  async hang() {
    await shared.transaction(async tx => {
      await tx.query("insert into rows (who, n) values ('never', 0)")
      process.send({ hangs: true })
      await new Promise(() => {})
    })
  },
  stats() { return { ...shared.stats, isOpen: shared.isOpen } },
  async closeShared() { await shared.close() },

  // As it should not be done: a lock around each statement, and the database open all the while.
  async naiveOpen(dataDir) {
    lock = await open(`${dataDir}.naive`)
    naive = await lock.with('exclusive', () => PGlite.create(dataDir))
  },
  naiveInsert(who, n) {
    return lock.with('exclusive', async () => {
      await naive.query('insert into rows (who, n) values ($1, $2)', [who, n])
      process.send({ who, n })
    })
  },
}

process.on('message', async ({ id, name, values }) => {
  try {
    process.send({ id, value: await methods[name](...values) })
  } catch ({ code, message, holder }) {
    process.send({ id, error: { code, message, holder } })
  }
})
