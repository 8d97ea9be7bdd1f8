// pglite.test.mjs - one shared PGlite, seen from one process.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { ColockError, forceUnlock, status } from '../index.js'
import { openShared } from '../pglite.js'
import { agentOf, ALL, databaseOf, sharedOf, tarball } from './database.mjs'
import { Agent, scratch, until, waiters } from './support.mjs'

const fails = code => thrown => thrown instanceof ColockError && thrown.code === code
const insert = 'insert into rows (who, n) values ($1, $2)'
const count = async shared => (await shared.query('select count(*)::int as count from rows')).rows[0].count

test('a database is opened by the first operation, and stays open', async t => {
  const shared = await sharedOf(t, await databaseOf(t))
  assert(!shared.isOpen)
  await shared.query(insert, ['a', 1])
  await shared.exec("insert into rows values ('a', 2); insert into rows values ('a', 3)")
  assert.deepEqual((await shared.sql`select n from rows where n > ${1}`).rows, [{ n: 2 }, { n: 3 }])
  assert.equal(await shared.transaction(async tx => (await tx.query(ALL)).rows.length), 3)
  assert.equal(await shared.run(async database => (await database.query(ALL)).rows.length), 3)
  assert(shared.isOpen)
  assert.deepEqual(shared.stats, { operations: 5, opened: 1, closed: 0, recovered: 0, dropped: 0 })
  await until('it is kept', async () => (await shared.lock.status()).cached === 1)
})

test('a lock that was forced away between two operations is taken anew', async t => {
  const shared = await sharedOf(t, await databaseOf(t))
  await shared.query(insert, ['a', 1])
  // While this waits the event loop does not turn: the hold of the operation before is still there.
  execFileSync(process.execPath, ['--input-type=module', '-e',
    `import { forceUnlock } from ${JSON.stringify(new URL('../index.js', import.meta.url).href)}
     await forceUnlock(${JSON.stringify(shared.lock.path)}, 'test')`])
  await shared.query(insert, ['a', 2])
  assert.equal(await count(shared), 2)
  const { opened, dropped } = shared.stats
  assert.deepEqual({ opened, dropped }, { opened: 2, dropped: 1 })
})

test('what PGlite throws comes out, and the next operation works', async t => {
  const shared = await sharedOf(t, await databaseOf(t))
  await assert.rejects(shared.query('select nothing'), { code: '42703' })
  await assert.rejects(shared.transaction(async tx => {
    await tx.query(insert, ['a', 1])
    throw new RangeError('no')
  }), RangeError)
  assert.equal(await count(shared), 0)
})

test('operations that are begun together run under one hold, in order', async t => {
  const shared = await sharedOf(t, await databaseOf(t))
  await count(shared)
  const before = (await shared.lock.status()).lastToken
  const all = Array.from({ length: 50 }, (_, n) => shared.query(insert, ['a', n]))
  const seen = shared.query(ALL)
  await Promise.all(all)
  assert.equal((await seen).rows.length, 50)
  assert.equal((await shared.lock.status()).lastToken, before + 1n)
})

test('inside run other operations join it, and inside transaction they are refused', async t => {
  const shared = await sharedOf(t, await databaseOf(t), { tenure: 0 })
  const other = await sharedOf(t, shared.dataDir)
  await shared.run(async () => {
    await shared.query(insert, ['a', 1])
    const waiting = count(other)
    waiting.catch(() => {})
    await waiters(shared.lock.path, 1)
    await shared.query(insert, ['a', 2]) // a new turn would be behind `other`, which waits for this one
    await shared.run(() => shared.query(insert, ['a', 3]))
    return { waiting }
  }).then(({ waiting }) => waiting).then(rows => assert.equal(rows, 3))
  let late
  await shared.transaction(async tx => {
    await tx.query(insert, ['a', 4])
    await assert.rejects(shared.query(ALL), fails('EDEADLK'))
    late = new Promise(resolve => setTimeout(resolve, 30)).then(() => count(shared))
  })
  assert.equal(await late, 4, 'what runs on after it is not inside')
})

test('a database that others want is closed, and opened again when it is needed', async t => {
  const dataDir = await databaseOf(t)
  const shared = await sharedOf(t, dataDir)
  const agent = await agentOf(t, dataDir)
  await shared.query(insert, ['here', 1])
  await agent.call('insert', 'there', 0, 3)
  assert(!shared.isOpen)
  assert.equal(await count(shared), 4)
  assert.deepEqual(shared.stats, { operations: 2, opened: 2, closed: 1, recovered: 0, dropped: 0 })
  assert.equal((await agent.call('stats')).closed, 1)
})

test('the report says cached, and for whom it was recalled', async t => {
  const dataDir = await databaseOf(t)
  const agent = new Agent(t)
  await agent.call('openSlow', dataDir, { label: 'server' })
  await agent.call('insert', 'server', 0, 1)
  const shared = await sharedOf(t, dataDir, { label: 'client', purpose: 'a look' })
  const rows = count(shared)
  rows.catch(() => {})
  await until('it is being closed', () => agent.said.some(said => said.closing))
  const { entries } = await status(`${dataDir}.lock`)
  assert.deepEqual(entries.map(({ role, label, suspending }) => ({ role, label, suspending: suspending === true })), [
    { role: 'cached', label: 'server', suspending: true }, { role: 'waiter', label: 'client', suspending: false }])
  if (process.env.COLOCK_TEST_COMMAND) {
    const { execFileSync } = await import('node:child_process')
    const said = execFileSync(process.env.COLOCK_TEST_COMMAND, ['status', `${dataDir}.lock`], { encoding: 'utf8' })
    assert.match(said, /cached/)
    assert.match(said, /server/)
    assert.match(said, new RegExp(`recalled for .*\\[${process.pid}`))
  }
  await agent.call('mayClose')
  assert.equal(await rows, 1)
  await agent.kill()
})

test('a database that idles is closed', async t => {
  const shared = await sharedOf(t, await databaseOf(t), { idleTimeout: 20 })
  await count(shared)
  await until('it is closed', () => shared.stats.closed === 1)
  assert(!shared.isOpen)
  await until('the lock has left', async () => (await shared.lock.status()).cached === 0)
})

test('release closes it now', async t => {
  const shared = await sharedOf(t, await databaseOf(t))
  await count(shared)
  await shared.release()
  assert.equal((await shared.lock.status()).cached, 0)
  assert(!shared.isOpen)
})

test('close waits for what was begun, and refuses what comes after', async t => {
  const shared = await sharedOf(t, await databaseOf(t))
  const all = Array.from({ length: 10 }, (_, n) => shared.query(insert, ['a', n]))
  const closed = shared.close()
  await assert.rejects(shared.query(ALL), fails('EINVAL'))
  await closed
  await Promise.all(all)
  assert(shared.closed)
  const again = await openShared(shared.dataDir)
  assert.equal(await count(again), 10)
  await again[Symbol.asyncDispose]()
})

test('an operation that has to wait too long is told who has the database', async t => {
  const dataDir = await databaseOf(t)
  const agent = await agentOf(t, dataDir, { label: 'server' })
  agent.call('hang')
  await until('it hangs', () => agent.said.some(said => said.hangs))
  const shared = await sharedOf(t, dataDir, { timeout: 50 })
  await assert.rejects(shared.query(ALL), thrown => fails('ETIMEDOUT')(thrown) && thrown.holder.label === 'server')
  const controller = new AbortController()
  const patient = await sharedOf(t, dataDir, { timeout: 'forever' })
  const waiting = patient.query(ALL, [], { signal: controller.signal })
  await waiters(`${dataDir}.lock`, 1)
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  await waiters(`${dataDir}.lock`, 0)
  const rows = count(patient)
  await waiters(`${dataDir}.lock`, 1)
  await agent.kill()
  assert.equal(await rows, 0, 'what it had not committed is not there')
  assert.equal(patient.stats.recovered, 1)
})

test('a turn that others wait for ends, however fast operations follow one another', async t => {
  const dataDir = await databaseOf(t)
  const shared = await sharedOf(t, dataDir)
  const agent = await agentOf(t, dataDir)
  await count(shared)
  let there = 0
  agent.call('insert', 'there', 0, 1).then(() => { there = 1 })
  const work = async who => {
    for (let n = 0; there === 0; n++) await shared.query(insert, [who, n])
  }
  await Promise.all([work('a'), work('b')]) // one is always under way
  assert(shared.stats.closed >= 1)
})

test('what was done while the lock was forced out does not count, and is not written on', async t => {
  const dataDir = await databaseOf(t)
  const shared = await sharedOf(t, dataDir)
  const agent = await agentOf(t, dataDir)
  await shared.query(insert, ['a', 1])
  let later
  await assert.rejects(shared.run(async database => {
    await forceUnlock(`${dataDir}.lock`, 'a test')
    await agent.call('insert', 'there', 0, 1)
    await database.query(insert, ['a', 2])
    later = [shared.query(insert, ['a', 3]), database]
    later[0].catch(() => {})
  }), fails('EREVOKED'))
  await assert.rejects(later[0], fails('EREVOKED'))
  await assert.rejects(later[1].query(insert, ['a', 4]), fails('EREVOKED'))
  assert.equal(shared.stats.dropped, 1)
  await agent.call('closeShared')
  const rows = (await shared.query("select n from rows where who = 'there'")).rows
  assert.equal(rows.length, 1)
  assert.equal(shared.stats.opened, 2)
})

test('a lock that was forced out while it was only kept is noticed by the next operation', async t => {
  const dataDir = await databaseOf(t)
  const shared = await sharedOf(t, dataDir)
  const agent = await agentOf(t, dataDir)
  await shared.query(insert, ['a', 1])
  await forceUnlock(`${dataDir}.lock`, 'a test')
  await agent.call('insert', 'there', 0, 1)
  await agent.call('closeShared')
  assert.equal(await count(shared), 2)
  assert.equal(shared.stats.closed, 0, 'it was not written any more')
})

test('onOpen is called after each opening, and what it throws comes out', async t => {
  const dataDir = await databaseOf(t)
  let calls = 0
  const shared = await sharedOf(t, dataDir, {
    onOpen: async database => {
      if (++calls === 2) throw new Error('not now')
      await database.exec("set application_name = 'colock'")
    },
  })
  assert.deepEqual((await shared.query('show application_name')).rows, [{ application_name: 'colock' }])
  await shared.release()
  await assert.rejects(shared.query(ALL), { message: 'not now' })
  await shared.query(ALL)
  assert.equal(calls, 3)
})

test('who is killed while it makes a new database leaves no half of one', async t => {
  const dataDir = path.join(scratch(t), 'db')
  const tar = await tarball()
  const agent = new Agent(t)
  await agent.call('openShared', dataDir, {}, Buffer.from(await tar.arrayBuffer()))
  agent.call('exec', 'select 1')
  await until('it is being made', () => fs.existsSync(`${dataDir}.new/PG_VERSION`))
  await agent.kill()
  assert(!fs.existsSync(dataDir))
  const shared = await sharedOf(t, dataDir, { pglite: { loadDataDir: tar } })
  assert.equal(await count(shared), 0)
  assert.equal(shared.stats.recovered, 1)
  assert(!fs.existsSync(`${dataDir}.new`))
  await shared.release()
  assert.equal(await count(shared), 0, 'what a new one is made of is not for one that is there')
})

test('two names of one directory are one lock', async t => {
  const dataDir = await databaseOf(t)
  const link = path.join(path.dirname(dataDir), 'link')
  fs.symlinkSync(dataDir, link)
  const shared = await sharedOf(t, link)
  assert.equal(shared.lock.path, `${dataDir}.lock`)
  assert.equal((await sharedOf(t, `file://${dataDir}`)).lock.path, `${dataDir}.lock`)
})

test('what cannot be shared is refused', async t => {
  const directory = scratch(t)
  await assert.rejects(openShared('memory://'), fails('EINVAL'))
  await assert.rejects(openShared('idb://db'), fails('EINVAL'))
  await assert.rejects(openShared(''), fails('EINVAL'))
  await assert.rejects(openShared(path.join(directory, 'db'), { pglite: { fs: {} } }), fails('EINVAL'))
  await assert.rejects(openShared(path.join(directory, 'db'), { tenure: 'long' }), fails('EINVAL'))
  await assert.rejects(openShared(path.join(directory, 'db'), { idelTimeout: 5 }), fails('ECONFIG'))
})
