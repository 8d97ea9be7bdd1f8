// suspend.test.mjs - a handler that runs before the lock leaves the process.

import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { open, status } from '../index.js'
import { Agent, scratch, script, until } from './support.mjs'

async function fileAndAgent(t) {
  const file = path.join(scratch(t), 'db.lock')
  const agent = new Agent(t)
  await agent.call('open', file)
  return [file, agent]
}

test('suspend has settled before another process gets the lock', async t => {
  const [file, agent] = await fileAndAgent(t)
  const events = []
  const lock = await open(file, {
    idleTimeout: 'forever',
    async suspend() {
      events.push('asked')
      await sleep(30)
      events.push('done')
    },
  })
  ;(await lock.acquire()).release()
  ;(await lock.acquire()).release()
  assert.deepEqual(events, [], 'it is kept')
  await agent.call('acquire', 'shared', { timeout: 'forever' }).then(() => events.push('granted'))
  assert.deepEqual(events, ['asked', 'done', 'granted'])
  await lock.close()
  assert.equal(events.length, 3, 'it had left before')
})

test('suspend is not called while a hold is in use', async t => {
  const [file, agent] = await fileAndAgent(t)
  let asked = 0
  const lock = await open(file, { autoRelease: false, idleTimeout: 'forever', suspend() { asked++ } })
  const hold = await lock.acquire()
  const granted = agent.call('acquire', 'exclusive', { timeout: 'forever' })
  assert.equal(await hold.whenContended(), 'contended')
  assert.equal(asked, 0)
  hold.release()
  await granted
  assert.equal(asked, 1)
  await agent.call('release')
  await lock.close()
})

test('suspend is called when the lock idles, and the report says so meanwhile', async t => {
  const [file] = await fileAndAgent(t)
  let suspending
  const lock = await open(file, {
    idleTimeout: 20,
    async suspend() { suspending = (await status(file)).entries[0] },
  })
  ;(await lock.acquire()).release()
  await until('it is let go', async () => (await status(file)).cached === 0)
  assert.equal(suspending.role, 'cached')
  assert.equal(suspending.suspending, true)
  await lock.close()
})

test('close waits for suspend', async t => {
  const [file] = await fileAndAgent(t)
  let done = false
  const lock = await open(file, { idleTimeout: 'forever', suspend: () => sleep(30).then(() => { done = true }) })
  ;(await lock.acquire()).release()
  await lock.close()
  assert(done)
})

test('after a suspend that failed the next holder is told that a writer was abandoned', async t => {
  const [file, agent] = await fileAndAgent(t)
  const warned = new Promise(resolve => process.once('warning', resolve))
  const lock = await open(file, { suspend() { throw new Error('cannot flush') } })
  ;(await lock.acquire()).release()
  const { abandoned } = await agent.call('acquire', 'exclusive', { timeout: 'forever' })
  assert(abandoned)
  assert.match((await warned).message, /cannot flush/)
  await lock.close()
})

test('a suspend may end its process', async t => {
  const [file, agent] = await fileAndAgent(t)
  const ended = script(`
    import { open } from '@/index.js'
    const lock = await open(${JSON.stringify(file)}, { idleTimeout: 'forever', suspend() { process.exit(5) } })
    ;(await lock.acquire()).release()
    setInterval(() => {}, 1000)`)
  await until('it is kept', async () => (await status(file)).cached === 1)
  const granted = agent.call('acquire', 'exclusive', { timeout: 'forever' })
  assert.deepEqual(await ended, [5, ''])
  assert((await granted).abandoned)
})

test('waits and suspends of two locks on one file in one process do not stop each other', async t => {
  const [file] = await fileAndAgent(t)
  let asked = 0
  const options = { idleTimeout: 'forever', suspend: async () => { asked++; await sleep(1) } }
  const locks = [await open(file, options), await open(file, options)]
  for (let i = 0; i < 10; i++) {
    const holds = locks.map(lock => lock.with('exclusive', { timeout: 'forever' }, () => sleep(1)))
    await Promise.all(holds)
  }
  assert(asked >= 10)
  for (const lock of locks) await lock.close()
})

test('process.exit while a suspend is pending ends the process', async t => {
  const [file, agent] = await fileAndAgent(t)
  const ended = script(`
    import { open } from '@/index.js'
    const lock = await open(${JSON.stringify(file)}, {
      idleTimeout: 'forever',
      suspend() { setTimeout(() => process.exit(3), 10); return new Promise(() => {}) },
    })
    ;(await lock.acquire()).release()
    setInterval(() => {}, 1000)`)
  await until('it is kept', async () => (await status(file)).cached === 1)
  const granted = agent.call('acquire', 'exclusive', { timeout: 'forever' })
  assert.deepEqual(await ended, [3, ''])
  assert((await granted).abandoned)
})

test('a process stays until its suspend has settled', async t => {
  const [file, agent] = await fileAndAgent(t)
  const ended = script(`
    import { open } from '@/index.js'
    const lock = await open(${JSON.stringify(file)}, {
      idleTimeout: 'forever',
      async suspend() { clearInterval(alive); await new Promise(r => setTimeout(r, 20)); console.log('flushed') },
    })
    ;(await lock.acquire()).release()
    const alive = setInterval(() => {}, 1000)`)
  await until('it is kept', async () => (await status(file)).cached === 1)
  assert(!(await agent.call('acquire', 'exclusive', { timeout: 'forever' })).abandoned)
  assert.deepEqual(await ended, [0, 'flushed\n'])
})
