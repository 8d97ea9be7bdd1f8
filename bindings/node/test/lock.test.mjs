// lock.test.mjs - acquire, wait, release, between processes and within one.

import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'

import { ColockError, open, openFor, status } from '../index.js'
import { Agent, later, scratch, script, waiters } from './support.mjs'

const fails = code => thrown => {
  assert(thrown instanceof ColockError, `not a ColockError: ${thrown}`)
  assert.equal(thrown.code, code)
  return true
}

async function lockOf(t, options) {
  const lock = await open(path.join(scratch(t), 'db.lock'), options)
  later(t, () => lock.close())
  return lock
}

async function agentOf(t, lock, options) {
  const agent = new Agent(t)
  await agent.call('open', lock.path, options)
  return agent
}

test('an exclusive hold keeps another process out until it is released', async t => {
  const lock = await lockOf(t)
  const agent = await agentOf(t, lock)
  const hold = await lock.acquire()
  await assert.rejects(agent.call('acquire', 'shared', { timeout: 0 }), fails('EBUSY'))
  const granted = agent.call('acquire', 'shared', { timeout: 'forever' })
  await waiters(lock.path, 1)
  const { token } = hold
  hold.release()
  assert.equal((await granted).lastToken, token)
  await assert.rejects(lock.acquire('exclusive', { timeout: 0 }), fails('EBUSY'))
  await agent.call('release')
  const again = await lock.acquire()
  assert(again.token > token)
  again.release()
})

test('shared holds are beside one another, in one thread too', async t => {
  const lock = await lockOf(t)
  const agent = await agentOf(t, lock)
  const holds = [await lock.acquire('shared'), await lock.acquire('shared')]
  await agent.call('acquire', 'shared')
  assert.equal(holds[0].mode, 'shared')
  assert.equal(holds[0].token, 0n)
  for (const hold of holds) hold.release()
})

test('who waits in vain is told who is in the way', async t => {
  const lock = await lockOf(t)
  const agent = await agentOf(t, lock, { label: 'the other' })
  await agent.call('acquire', 'exclusive', { purpose: 'schema 42' })
  await assert.rejects(lock.acquire('shared', { timeout: 50 }), thrown => {
    fails('ETIMEDOUT')(thrown)
    assert.match(thrown.message, /^\/.*db\.lock: gave up after /)
    assert.match(thrown.stack, /lock\.test\.mjs/, 'the stack is that of who waited')
    const { pid, label, purpose, mode, role, ageMs } = thrown.holder
    assert.deepEqual({ pid, label, purpose, mode, role },
      { pid: agent.pid, label: 'the other', purpose: 'schema 42', mode: 'exclusive', role: 'holder' })
    assert.match(thrown.holder.program, /node/)
    assert(ageMs >= 50)
    return true
  })
})

test('tryAcquire answers null if the lock is not free', async t => {
  const lock = await lockOf(t)
  const hold = await lock.tryAcquire()
  assert.equal(await lock.tryAcquire('shared'), null)
  hold.release()
  const shared = await lock.tryAcquire('shared', { purpose: 'look' })
  assert.equal((await lock.status()).entries[0].purpose, 'look')
  shared.release()
})

test('a lock that was opened with timeout 0 tries once', async t => {
  const lock = await lockOf(t, { timeout: 0 })
  const hold = await lock.acquire()
  await assert.rejects(lock.acquire(), thrown => ['EBUSY', 'ETIMEDOUT'].includes(thrown.code))
  hold.release()
})

test('a signal that was aborted before takes nothing', async t => {
  const lock = await lockOf(t)
  const reason = new Error('not today')
  await assert.rejects(lock.acquire('shared', { signal: AbortSignal.abort(reason) }), reason)
  ;(await lock.acquire('exclusive', { timeout: 0 })).release()
})

test('a signal that is aborted during the wait leaves the line', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const controller = new AbortController()
  const waiting = lock.acquire('shared', { signal: controller.signal, timeout: 'forever' })
  await waiters(lock.path, 1)
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  await waiters(lock.path, 0)
  hold.release()
  ;(await lock.acquire('exclusive', { timeout: 0 })).release()
})

test('a signal that is aborted after the grant does nothing', async t => {
  const lock = await lockOf(t)
  const controller = new AbortController()
  const hold = await lock.acquire('exclusive', { signal: controller.signal })
  controller.abort()
  hold.check()
  hold.release()
})

test('onWait is told who holds', async t => {
  const lock = await lockOf(t, { notifyAfter: 10 })
  const hold = await lock.acquire('exclusive', { purpose: 'long work' })
  let told
  const waiting = lock.acquire('shared', {
    onWait(who, waitedMs) {
      told ??= { purpose: who[0].purpose, waitedMs }
      hold.release()
    },
  })
  ;(await waiting).release()
  assert.equal(told.purpose, 'long work')
  assert(told.waitedMs >= 10)
})

test('what onWait throws ends the wait', async t => {
  const lock = await lockOf(t, { notifyAfter: 10 })
  const hold = await lock.acquire()
  const enough = new Error('enough')
  await assert.rejects(lock.acquire('shared', { timeout: 'forever', onWait() { throw enough } }), enough)
  await waiters(lock.path, 0)
  hold.release()
})

test('a wait may be called off in its own onWait', async t => {
  const lock = await lockOf(t, { notifyAfter: 10 })
  const hold = await lock.acquire()
  const controller = new AbortController()
  const { signal } = controller
  const waiting = lock.acquire('shared', { timeout: 'forever', signal, onWait: () => controller.abort() })
  await assert.rejects(waiting, { name: 'AbortError' })
  await waiters(lock.path, 0)
  hold.release()
})

test('a hundred waits of one process are served in turn', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const order = []
  const all = []
  for (let i = 0; i < 100; i++) {
    all.push(lock.with('exclusive', { timeout: 'forever' }, async () => {
      order.push(i)
      await undefined
    }))
    await waiters(lock.path, i + 1)
  }
  hold.release()
  await Promise.all(all)
  assert.deepEqual(order, [...Array(100).keys()])
})

test('readers that wait enter together', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const waiting = Array.from({ length: 20 }, () => lock.acquire('shared', { timeout: 'forever' }))
  await waiters(lock.path, 20)
  hold.release()
  const holds = await Promise.all(waiting) // none is released before all are granted
  for (const each of holds) each.release()
})

test('with releases, whatever the operation does', async t => {
  const lock = await lockOf(t)
  assert.equal(await lock.with('exclusive', hold => hold.mode), 'exclusive')
  await assert.rejects(lock.with('shared', { purpose: 'x' }, async () => { throw new RangeError('no') }), RangeError)
  ;(await lock.acquire('exclusive', { timeout: 0 })).release()
})

test('close calls off what waits, and refuses while holds are in use', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const waiting = lock.acquire('shared', { timeout: 'forever' })
  waiting.catch(() => {})
  await waiters(lock.path, 1)
  await assert.rejects(lock.close(), fails('EBUSY'))
  await assert.rejects(waiting, fails('ECANCELED'))
  hold.release()
  await lock.close()
  await lock.close()
  assert(lock.closed)
  await assert.rejects(lock.acquire(), fails('EINVAL'))
})

test('cancel ends all waits until it is switched off', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const waiting = [lock.acquire('shared'), lock.acquire()]
  for (const each of waiting) each.catch(() => {})
  await waiters(lock.path, 2)
  lock.cancel()
  for (const each of waiting) await assert.rejects(each, fails('ECANCELED'))
  lock.cancel(false)
  const granted = lock.acquire('shared')
  await waiters(lock.path, 1)
  hold.release()
  ;(await granted).release()
})

test('openFor locks the file beside its target', async t => {
  const target = path.join(scratch(t), 'data')
  const lock = await openFor(target)
  assert.equal(lock.path, `${target}.lock`)
  const hold = await lock.acquire()
  assert.equal((await status(`${target}.lock`)).holders, 1)
  hold.release()
  await lock.close()
})

test('a lock can be disposed of', async t => {
  const file = path.join(scratch(t), 'db.lock')
  const lock = await open(Buffer.from(file))
  await lock[Symbol.asyncDispose]()
  assert(lock.closed)
})

test('a wait keeps the process, and a kept lock does not', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const ended = script(`
    import { open } from '@/index.js'
    const lock = await open(${JSON.stringify(lock.path)}, { autoRelease: true, idleTimeout: 'forever' })
    lock.acquire('exclusive', { timeout: 'forever' }).then(hold => { hold.release(); console.log('had it') })`)
  await waiters(lock.path, 1)
  hold.release()
  assert.deepEqual(await ended, [0, 'had it\n'])
  ;(await lock.acquire('exclusive', { timeout: 0 })).release()
})

test('to be imported keeps no process', async () => {
  assert.deepEqual(await script("import { version } from '@/index.js'; console.log(typeof version)"), [0, 'string\n'])
})

test('process.exit with waits pending ends the process', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const [code, printed] = await script(`
    import { open } from '@/index.js'
    const lock = await open(${JSON.stringify(lock.path)})
    for (let i = 0; i < 10; i++) lock.acquire('shared', { timeout: 'forever' })
    setTimeout(() => process.exit(7), 20)`)
  assert.deepEqual([code, printed], [7, ''])
  await waiters(lock.path, 0)
  hold.release()
})

test('what cannot be is refused by name', async t => {
  const file = path.join(scratch(t), 'db.lock')
  await assert.rejects(open(file, { timeuot: 5 }), thrown => fails('ECONFIG')(thrown) && /timeout/.test(thrown.message))
  await assert.rejects(open(''), fails('EINVAL'))
  await assert.rejects(open('a\0b'), fails('EINVAL'))
  await assert.rejects(open(path.join(file, 'deeper')), fails('ENOENT'))
  await assert.rejects(open(file, { suspend: 5 }), fails('EINVAL'))
  await assert.rejects(status(file), fails('ENOENT'))
  const lock = await open(file, { timeout: 1500, idleTimeout: '2min', fileMode: 0o640, staleTimeout: Infinity })
  await assert.rejects(lock.acquire('both'), fails('EINVAL'))
  await assert.rejects(lock.acquire('shared', { timeout: -1 }), fails('EINVAL'))
  await assert.rejects(lock.acquire('shared', { timeout: '5s' }), fails('EINVAL'))
  await assert.rejects(lock.acquire('shared', { priority: 101 }), fails('EINVAL'))
  await assert.rejects(lock.acquire('shared', { priority: 0.5 }), fails('EINVAL'))
  await assert.rejects(lock.acquire('shared', { purpose: 5 }), fails('EINVAL'))
  await assert.rejects(lock.acquire('shared', { onWait: 5 }), fails('EINVAL'))
  await assert.rejects(lock.with('shared'), fails('EINVAL'))
  await lock.close()
})
