// worker.test.mjs - worker threads: each is an environment of its own, and may be ended at any moment.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

import { open } from '../index.js'
import { later, scratch, until, waiters } from './support.mjs'

async function lockOf(t) {
  const lock = await open(path.join(scratch(t), 'db.lock'), { timeout: 'forever' })
  later(t, () => lock.close())
  return lock
}

// Its script has `lock` and `say`.
async function worker(t, lock, script, options = {}) {
  const thread = new Worker(`
    import { parentPort, workerData } from 'node:worker_threads'
    const { open } = await import(workerData.module)
    const lock = await open(workerData.file, { timeout: 'forever', ...workerData.options })
    const say = what => parentPort.postMessage(what)
    ${script}`, {
    eval: true,
    execArgv: ['--input-type=module'],
    workerData: { module: new URL('../index.js', import.meta.url).href, file: lock.path, options },
  })
  later(t, () => thread.terminate())
  return thread
}

test('workers exclude each other', async t => {
  const lock = await lockOf(t)
  const counter = new Int32Array(new SharedArrayBuffer(4))
  const threads = []
  for (let i = 0; i < 3; i++) {
    const thread = await worker(t, lock, `
      import { once } from 'node:events'
import fs from 'node:fs'
      const [counter] = await once(parentPort, 'message')
      for (let i = 0; i < 200; i++) {
        const hold = await lock.acquire()
        const before = counter[0]
        await undefined
        counter[0] = before + 1
        hold.release()
      }
      await lock.close()
      process.exit(0)`)
    thread.postMessage(counter)
    threads.push(once(thread, 'exit'))
  }
  await Promise.all(threads)
  assert.equal(counter[0], 600)
})

test('a worker that is ended while it holds leaves the lock abandoned, not held', async t => {
  const lock = await lockOf(t)
  const thread = await worker(t, lock, `
    globalThis.hold = await lock.acquire()
    say('held')
    setInterval(() => {}, 1000)`)
  await once(thread, 'message')
  assert.equal(await lock.tryAcquire(), null)
  await thread.terminate()
  const hold = await lock.acquire('exclusive', { timeout: 0 })
  assert(hold.abandoned)
  hold.recovered()
  hold.release()
})

test('a worker that is ended while it waits leaves the line', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire()
  const thread = await worker(t, lock, `for (let i = 0; i < 5; i++) lock.acquire('shared')`)
  await waiters(lock.path, 5)
  await thread.terminate()
  await waiters(lock.path, 0)
  hold.release()
})

test('a worker that is ended while it upgrades leaves nothing behind', async t => {
  const lock = await lockOf(t)
  const hold = await lock.acquire('shared')
  const thread = await worker(t, lock, `const mine = await lock.acquire('shared'); await mine.upgrade()`)
  await waiters(lock.path, 1)
  await thread.terminate()
  await waiters(lock.path, 0)
  await hold.upgrade({ timeout: 0 })
  hold.release()
})

test('a worker that is ended in its suspend lets the lock go', async t => {
  const lock = await lockOf(t)
  const thread = await worker(t, lock, `
    const suspend = () => { say('asked'); return new Promise(() => {}) }
    const mine = await open(lock.path, { idleTimeout: 'forever', suspend })
    ;(await mine.acquire()).release()
    say('kept')
    setInterval(() => {}, 1000)`)
  assert.deepEqual(await once(thread, 'message'), ['kept'])
  const granted = lock.acquire()
  assert.deepEqual(await once(thread, 'message'), ['asked'])
  await thread.terminate()
  const hold = await granted
  assert(hold.abandoned)
  hold.recovered()
  hold.release()
})

test('a worker may end itself in its suspend', async t => {
  const lock = await lockOf(t)
  const thread = await worker(t, lock, `
    const mine = await open(lock.path, { idleTimeout: 'forever', suspend() { process.exit(6) } })
    ;(await mine.acquire()).release()
    say('kept')
    setInterval(() => {}, 1000)`)
  await once(thread, 'message')
  const ended = once(thread, 'exit')
  const hold = await lock.acquire()
  assert.deepEqual(await ended, [6])
  assert(hold.abandoned)
  hold.recovered()
  hold.release()
})

test('workers may come and go', async t => {
  const lock = await lockOf(t)
  const descriptors = () => fs.readdirSync('/proc/self/fd').length
  let before
  for (let i = 0; i < 10; i++) {
    const thread = await worker(t, lock, `
      ;(await lock.acquire()).release()
      const hold = await lock.acquire('shared')
      hold.whenContended()
      say('ready')`, { autoRelease: i % 2 === 0 })
    await once(thread, 'message')
    await thread.terminate()
    before ??= descriptors()
  }
  assert.equal(descriptors(), before)
  await until('all are gone', async () => (await lock.status()).holders === 0)
  ;(await lock.acquire('exclusive')).release()
})
