// bench.mjs - what the lock costs: a pair of acquire and release, and PGlite beside PGlite alone.
//
//   node bench.mjs [rounds]      (make bench-node)
//
// Inserts are compared one by one, in turns, each turn in the other order; medians: what else goes on in the machine,
// and in the database, meets both. PGlite alone is the very instance that the shared database has open, used without
// asking the lock: two instances differ by more than a lock costs.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import { open } from './index.js'
import { openShared } from './pglite.js'

const ROUNDS = Number(process.argv[2] ?? 21)
const PAIRS = 50_000
const INSERTS = 200 * ROUNDS

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'colock-bench.'))
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]

async function nanoseconds(count, work) {
  const begun = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - begun) / count
}

async function inTurns(rounds, count, works) {
  const times = works.map(() => [])
  for (const work of works) await work() // warm
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 ? [...works.keys()].reverse() : works.keys()
    for (const i of order) times[i].push(await nanoseconds(count, works[i]))
  }
  return times
}

async function pairs(name, lock, mode, options) {
  const [times] = await inTurns(ROUNDS, PAIRS, [async () => {
    for (let i = 0; i < PAIRS; i++) (await lock.acquire(mode, options)).release()
  }])
  console.log(`${name.padEnd(40)} ${median(times).toFixed(0).padStart(8)} ns`)
}

try {
  const kept = await open(path.join(directory, 'kept.lock'), { autoRelease: true })
  await pairs('acquire + release, kept, exclusive', kept, 'exclusive')
  await pairs('acquire + release, kept, shared', kept, 'shared')
  await pairs('acquire + release, kept, with options', kept, 'exclusive', { timeout: 1000, purpose: 'bench' })
  await kept.close()
  const plain = await open(path.join(directory, 'plain.lock'), { autoRelease: false })
  await pairs('acquire + release, not kept, exclusive', plain, 'exclusive')
  await plain.close()

  let alone
  const shared = await openShared(path.join(directory, 'shared'), { onOpen: database => { alone = database } })
  const insert = 'insert into rows (who, n) values ($1, $2)'
  await shared.exec('create table rows (id serial primary key, who text, n int)')
  const [without, beside] = await inTurns(INSERTS, 1, [alone, shared].map(database => () =>
    database.query(insert, ['bench', 1])))
  console.log(`${'insert, PGlite alone'.padEnd(40)} ${(median(without) / 1000).toFixed(1).padStart(8)} us`)
  console.log(`${'insert, PGlite beside colock'.padEnd(40)} ${(median(beside) / 1000).toFixed(1).padStart(8)} us`)
  console.log(`${'ratio'.padEnd(40)} ${(median(beside) / median(without)).toFixed(3).padStart(8)}`)
  await shared.close()
} finally {
  fs.rmSync(directory, { recursive: true, force: true })
}
