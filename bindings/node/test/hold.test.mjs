// hold.test.mjs - what can be done with a hold.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { ColockError, forceUnlock, open, setLog, status, version } from '../index.js'
import { Agent, later, scratch, script, until, waiters } from './support.mjs'

const code = wanted => thrown => thrown instanceof ColockError && thrown.code === wanted

async function lockOf(t, options) {
  const lock = await open(path.join(scratch(t), 'db.lock'), options)
  later(t, () => lock.close())
  return lock
}

test('a hold that was released can do no more, and may be released again', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  assert.match(hold.id, /^\d+:\d+:\d+$/)
  assert.equal(hold.lock, lock)
  hold.release()
  assert(hold.released)
  hold.release()
  assert.throws(() => hold.check(), code('EINVAL'))
  assert.throws(() => hold.token, code('EINVAL'))
  await assert.rejects(hold.upgrade(), code('EINVAL'))
})

test('tokens grow, and tell whether somebody has written since', async t => {
  const lock = await lockOf(t)
  const first = await lock.acquire()
  const { token } = first
  first.release()
  const reader = await lock.acquire('shared')
  assert.equal(reader.lastToken, token)
  reader.release()
  const second = await lock.acquire()
  assert(second.token > token)
  assert.equal(second.lastToken, token)
  second.release()
})

test('a hold is released when it is disposed of', async t => {
  const lock = await lockOf(t)
  const use = async mode => { // what `using hold = await lock.acquire(mode)` does
    const hold = await lock.acquire(mode, { timeout: 0 })
    try {
      return hold.mode
    } finally {
      hold[Symbol.dispose]()
    }
  }
  assert.equal(await use('exclusive'), 'exclusive')
  assert.equal(await use('exclusive'), 'exclusive')
  const hold = await lock.acquire()
  await hold[Symbol.asyncDispose]()
  assert(hold.released)
})

test('a shared hold becomes exclusive once the others have gone', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire('shared')
  const other = await lock.acquire('shared')
  await assert.rejects(hold.upgrade({ timeout: 0 }), code('EBUSY'))
  const upgraded = hold.upgrade({ timeout: 'forever' })
  assert.throws(() => hold.release(), code('EINVAL'), 'not while it is being changed')
  await waiters(lock.path, 1)
  await assert.rejects(other.upgrade(), code('EDEADLK'))
  assert(other.contended)
  other.release()
  await upgraded
  assert.equal(hold.mode, 'exclusive')
  assert(hold.token > 0n)
  hold.downgrade()
  assert.equal(hold.mode, 'shared')
  ;(await lock.acquire('shared', { timeout: 0 })).release()
  hold.release()
})

test('yield lets those go first who wait', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const { token } = hold
  await hold.yield()
  assert.equal(hold.token, token, 'nobody waits: nothing happens')
  const order = []
  const other = lock.with('exclusive', () => { order.push('other') })
  await waiters(lock.path, 1)
  await hold.yield()
  order.push('first')
  assert(hold.token > token)
  await other
  assert.deepEqual(order, ['other', 'first'])
  hold.release()
})

test('a yield that does not get it back leaves nothing but release', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const waiting = lock.acquire('exclusive', { timeout: 'forever' })
  await waiters(lock.path, 1)
  await assert.rejects(hold.yield({ timeout: 20 }), code('ETIMEDOUT'))
  hold.release()
  ;(await waiting).release()
})

test('whenContended tells that somebody waits', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire('shared')
  const told = hold.whenContended()
  const waiting = lock.acquire()
  assert.equal(await told, 'contended')
  assert(hold.contended)
  hold.release()
  ;(await waiting).release()
})

test('whenContended tells that the hold was released', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire('shared')
  const told = [hold.whenContended(), hold.whenContended()]
  hold.release()
  assert.deepEqual(await Promise.all(told), ['released', 'released'])
})

test('a hold that was forced out learns of it', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire('exclusive', { purpose: 'stuck' })
  const told = hold.whenContended()
  const before = await forceUnlock(lock.path, 'a test')
  assert.equal(before.entries[0].purpose, 'stuck')
  assert.equal(await told, 'revoked')
  assert.throws(() => hold.check(), code('EREVOKED'))
  assert.equal((await status(lock.path)).revoked, 1)
  const next = await lock.acquire('exclusive', { timeout: 0 })
  assert.throws(() => hold.release(), code('EREVOKED'))
  assert(hold.released)
  next.release()
})

test('a file that was deleted beneath a hold is told of', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  fs.rmSync(lock.path)
  assert.throws(() => hold.check(), code('ELOST'))
  assert.throws(() => hold.release(), code('ELOST'))
})

test('the next holder is told of a writer that was killed', async t => {
  const lock = await lockOf(t)
  const agent = new Agent(t)
  await agent.call('open', lock.path)
  await agent.call('acquire', 'exclusive')
  await agent.kill()
  const hold = await lock.acquire('exclusive', { timeout: 'forever' })
  assert(hold.abandoned)
  hold.recovered()
  hold.release()
  const next = await lock.acquire()
  assert(!next.abandoned)
  assert.throws(() => { next.downgrade(); next.recovered() }, code('EINVAL'))
  next.release()
})

test('a hold that was forgotten is released, with a warning', async t => {
  const file = path.join(scratch(t), 'db.lock')
  const [exit, printed] = await script(`
    import { open } from '@/index.js'
    import { setTimeout as sleep } from 'node:timers/promises'
    const lock = await open(${JSON.stringify(file)})
    const forget = async () => { await lock.acquire() }
    await forget()
    while (!await lock.tryAcquire()) { gc(); await sleep(10) }
    console.log('free')
    process.exit(0)`, { execArgv: ['--expose-gc'] })
  assert.equal(exit, 0)
  assert.match(printed, /free/)
  assert.match(printed, /ColockWarning: a hold was forgotten/)
})

test('a kept lock is called cached, and let go when asked', async t => {
  const lock = await lockOf(t, { autoRelease: true, idleTimeout: 'forever', label: 'keeper' })
  ;(await lock.acquire()).release()
  const [kept] = (await lock.status()).entries
  assert.equal(kept.role, 'cached')
  assert.equal(kept.label, 'keeper')
  await lock.releaseIdle()
  assert.equal((await lock.status()).cached, 0)
})

test('what the library has to say goes to setLog', async t => {
  const lines = []
  setLog((level, line) => lines.push({ level, line }))
  later(t, () => setLog(null))
  const lock = await lockOf(t, { verbosity: 'debug' })
  ;(await lock.acquire()).release()
  fs.rmSync(lock.path)
  ;(await lock.acquire()).release()
  await until('a line', () => lines.some(({ level, line }) => level === 'warning' && line.includes(lock.path)))
})

test('the version is that of the library', () => {
  assert.match(version, /^\d+\.\d+\.\d+$/)
})
