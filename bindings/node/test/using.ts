// using.ts - a program as a user would write it: checked by tsc, then run by types.test.mjs.

import { ColockError, open, type Entry, type Hold, type Lock, type Report } from 'colock'
import { openShared, type SharedPGlite } from 'colock/pglite'
import type { Extension } from '@electric-sql/pglite'

async function locks(file: string): Promise<Lock> {
  const lock: Lock = await open(file, { label: 'using', idleTimeout: '2s', staleTimeout: 500, verbosity: 'error' })
  let seen: Hold
  {
    const signal = AbortSignal.timeout(5000)
    using hold = await lock.acquire('exclusive', { timeout: 1000, purpose: 'a test', signal })
    seen = hold
    const token: bigint = hold.token
    if (token <= hold.lastToken) throw new Error('tokens grow')
  }
  if (seen.released) console.log('released')
  const hold: Hold | null = await lock.tryAcquire('exclusive')
  try {
    const onWait = (who: Entry[], ms: number) => { void [who[0]?.purpose, ms] }
    await lock.acquire('shared', { timeout: 10, onWait })
  } catch (thrown) {
    if (!(thrown instanceof ColockError)) throw thrown
    const mode: 'shared' | 'exclusive' | undefined = thrown.holder?.mode
    console.log(thrown.code, mode)
  }
  hold?.release()
  const mode: string = await lock.with('shared', async held => held.mode)
  const report: Report = await lock.status()
  void [mode, report.entries.length]
  return lock
}

{
  await using lock = await locks(process.argv[2]!)
  void lock.path
}
console.log('closed')

// Types alone.
export async function shared(): Promise<number> {
  const setup = async () => ({ namespaceObj: { distance: () => 1 } })
  const vector: Extension<{ distance(): number }> = { name: 'vector', setup }
  const pglite = { extensions: { vector } }
  await using db = await openShared('./data', { pglite, tenure: 100, onOpen: async it => { await it.exec('') } })
  const plain: SharedPGlite = await openShared('./data')
  const { rows } = await plain.query<{ n: number }>('select n from rows where n > $1', [1])
  const named = await db.sql<{ n: number }>`select n from rows where n > ${1}`
  await db.transaction(async tx => (await tx.query<{ n: number }>('select 1')).rows)
  const distance: number = await db.run(it => it.vector.distance())
  // @ts-expect-error: a mode that is none
  await db.lock.acquire('both')
  // @ts-expect-error: its own directory
  await openShared('./data', { pglite: { dataDir: './other' } })
  return distance + rows.length + named.rows.length + db.stats.opened
}
